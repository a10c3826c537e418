package twin

import (
	"context"
	"fmt"
	"hash"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// check hands blocks from the reader to the writer, and compares every member's MD5 on the way: what the records' checksums,
// or their lack, let pass is found here.
func (c *copying) check(ctx context.Context, from *reader, to *writer) error {
	var m *members
	for {
		var b block
		var more bool
		select {
		case b, more = <-from.read:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			to.close()
			return nil
		}
		if b.part.archive != nil {
			if m == nil {
				a, err := c.Ledger.LoadArchive(ctx, b.part.archive.ID)
				if err != nil {
					return err
				}
				m = newMembers(a)
			}
			if err := m.pass(b.data); err != nil {
				return err
			}
			if b.data == nil {
				m = nil
			}
		}
		if err := to.put(ctx, b); err != nil {
			return err
		}
	}
}

// members goes over the bytes of one archive and compares the data of its files.
type members struct {
	*catalog.Archive
	files []*catalog.Entry // not yet passed, in tape order
	sum   hash.Hash
	at    int64 // bytes of the archive that passed
}

func newMembers(a *catalog.Archive) *members {
	m := &members{Archive: a, sum: digest.NewMD5()}
	for i := range a.Items {
		for j := range a.Items[i].Entries {
			if e := &a.Items[i].Entries[j]; e.Type == catalog.File && !e.MD5.IsZero() {
				m.files = append(m.files, e)
			}
		}
	}
	return m
}

// pass takes the next record, nil at the end.
func (m *members) pass(record []byte) error {
	end := m.at + int64(len(record))
	for len(m.files) > 0 {
		e := m.files[0]
		begin := (e.Record-m.Record)*int64(m.RecordSize) + int64(e.Offset+e.Header)
		from, to := max(begin, m.at), min(begin+e.Size, end)
		if from < to {
			m.sum.Write(record[from-m.at : to-m.at])
		}
		if begin+e.Size > end {
			break
		}
		if got := catalog.MD5(m.sum.Sum(nil)); got != e.MD5 {
			return fmt.Errorf("%s:%q in archive %d has md5 %s, the ledger says %s, and the checksums of its records do not tell it", e.Host, e.Path, m.Number, got, e.MD5)
		}
		m.sum.Reset()
		m.files = m.files[1:]
	}
	m.at = end
	return nil
}
