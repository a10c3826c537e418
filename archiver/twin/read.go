package twin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// reader gives the records of all parts in order: of archives those of a tape, of catalogs those that the ledger makes.
type reader struct {
	*copying
	tapes []ledger.Tape // the source, and its old twin where there is one
	now   int           // of tapes: which is loaded
	l     *archiver.Loaded
	at    int64 // block at which the drive stands; -1 if that is not known
	free  chan []byte
	read  chan block

	archive *ledger.PlannedArchive // that is being read
	crcs    []byte                 // of its records; nil if not known
}

// run reads everything and closes read, unless it fails.
func (r *reader) run(ctx context.Context) error {
	for i := range r.parts {
		p := &r.parts[i]
		err := error(nil)
		if p.archive == nil {
			err = r.catalog(ctx, p)
		} else {
			err = r.records(ctx, p)
		}
		if err == nil {
			err = r.give(ctx, block{part: p})
		}
		if err != nil {
			return err
		}
	}
	close(r.read)
	return nil
}

func (r *reader) give(ctx context.Context, b block) error {
	select {
	case r.read <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *reader) buffer(ctx context.Context) ([]byte, error) {
	select {
	case buf := <-r.free:
		return buf, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// records reads the records of an archive.
func (r *reader) records(ctx context.Context, p *part) (err error) {
	r.archive = p.archive
	if r.crcs, err = r.Ledger.CRCs(ctx, p.archive.ID); errors.Is(err, ledger.ErrNotFound) {
		r.crcs, err = nil, nil
	}
	if err != nil {
		return err
	}
	if r.crcs != nil && int64(len(r.crcs)) != 4*p.archive.Records {
		return fmt.Errorf("the ledger has %d bytes of checksums for the %d records of archive %d", len(r.crcs), p.archive.Records, p.archive.Number)
	}
	for n := range p.archive.Records {
		buf, err := r.buffer(ctx)
		if err != nil {
			return err
		}
		if err := r.record(ctx, n, buf); err != nil {
			return err
		}
		if err := r.give(ctx, block{data: buf, part: p}); err != nil {
			return err
		}
	}
	return nil
}

// record reads the nth record of the archive, from whatever tape gives it back as it was written.
func (r *reader) record(ctx context.Context, n int64, buf []byte) error {
	var first error
	for range r.tapes {
		err := r.try(ctx, n, buf)
		if err == nil {
			return nil
		}
		var damage *damageError
		if !errors.As(err, &damage) {
			return err
		}
		barcode := r.tapes[r.now].Barcode
		r.r.Bad[barcode]++
		r.Events.Emit(event.Note{Text: fmt.Sprintf("record %d of archive %d on %s is no good: %v", r.archive.Record+n, r.archive.Number, barcode, err)})
		first = errors.Join(first, fmt.Errorf("%s: %w", barcode, err))
		if err := r.turn(ctx); err != nil {
			first = errors.Join(first, err)
			break
		}
	}
	return r.lost(ctx, n, first)
}

// damageError says that a tape does not give a record back; its twin may.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// try reads the nth record of the archive from the tape that is loaded.
func (r *reader) try(ctx context.Context, n int64, buf []byte) error {
	if !r.holds() {
		return &damageError{errors.New("the ledger says that it is not there")}
	}
	where := r.archive.Record + n
	if r.at != where {
		r.at = -1
		if err := r.l.Drive.Locate(ctx, where); err != nil {
			return r.blame(ctx, err)
		}
	}
	got, err := r.l.Drive.ReadRecord(ctx, buf)
	r.at = where + 1
	switch {
	case err != nil:
		r.at = -1
		return r.blame(ctx, err)
	case got != len(buf):
		return &damageError{fmt.Errorf("it has %d bytes instead of %d", got, len(buf))}
	case r.crcs != nil && digest.CRC32C(buf) != binary.LittleEndian.Uint32(r.crcs[4*n:]):
		return &damageError{errors.New("it is not what was written")}
	}
	return nil
}

// holds tells whether the ledger has the archive on the tape that is loaded.
func (r *reader) holds() bool { return r.archive.On[r.tapes[r.now].Side-1] }

// blame tells the tape's damages from the drive's (sense keys not ready, hardware error, illegal request, unit attention,
// aborted command) and from the end of the call.
func (r *reader) blame(ctx context.Context, err error) error {
	var hung *tape.HungError
	var sense *tape.SenseError
	drive := errors.As(err, &sense) && slices.Contains([]byte{0x2, 0x4, 0x5, 0x6, 0xB}, sense.Key)
	if drive || ctx.Err() != nil || errors.Is(err, tape.ErrBusy) || errors.Is(err, tape.ErrNoMedium) || errors.As(err, &hung) {
		return fmt.Errorf("tape %s in %s: %w", r.l.Barcode, r.l.Drive.Name(), err)
	}
	return &damageError{err}
}

// turn goes on with the other tape, in the same drive. It costs the time of a load, so it stays there until that one fails.
func (r *reader) turn(ctx context.Context) error {
	if len(r.tapes) < 2 {
		return errors.New("there is no twin")
	}
	r.now = 1 - r.now
	number := r.l.Number
	if err := r.PutBack(ctx, r.l, 0); err != nil {
		r.l = nil
		return err
	}
	r.l, r.at = nil, -1
	loaded, err := archiver.Load(ctx, r.Library, []string{r.tapes[r.now].Barcode}, []int{number})
	if err != nil {
		return err
	}
	r.l = loaded[0]
	r.Events.Emit(event.Note{Text: fmt.Sprintf("going on from %s", r.l.Barcode)})
	return r.identify(ctx)
}

// identify makes sure that the loaded tape is the one that the ledger means. A label that cannot be read does not matter: every
// record is checked.
func (r *reader) identify(ctx context.Context) error {
	t := r.tapes[r.now]
	buf := make([]byte, t.RecordSize)
	if err := r.l.Drive.Rewind(ctx); err != nil {
		return err
	}
	r.at = -1
	n, err := r.l.Drive.ReadRecord(ctx, buf)
	var damage *damageError
	if err != nil {
		if err = r.blame(ctx, err); !errors.As(err, &damage) {
			return err
		}
	} else {
		var label catalog.Label
		if label, err = catalog.ParseLabel(buf[:n]); err == nil {
			if label.Tape == t.UUID && label.Pair == t.Pair && label.Barcode == t.Barcode {
				return nil
			}
			return &archiver.ForeignError{Barcode: t.Barcode, Err: fmt.Errorf("is labelled %s (UUID %s, pair %s), the ledger says UUID %s, pair %s",
				label.Barcode, label.Tape, label.Pair, t.UUID, t.Pair)}
		}
	}
	r.Events.Emit(event.Note{Text: fmt.Sprintf("the label of %s is no good: %v; its records are checked one by one", t.Barcode, err)})
	return nil
}

// lost makes the error of a record that no tape gives.
func (r *reader) lost(ctx context.Context, n int64, why error) error {
	e := &LostError{Archive: r.archive.Number, Record: r.archive.Record + n, Err: why}
	a, err := r.Ledger.LoadArchive(ctx, r.archive.ID)
	if err != nil {
		return errors.Join(e, err)
	}
	size := int64(a.RecordSize)
	for i := range a.Items {
		it := &a.Items[i]
		var from, to int64 = -1, -1 // blocks
		for j := range it.Entries {
			if m := &it.Entries[j]; m.Type.OnTape() {
				if from < 0 {
					from = m.Record
				}
				to = m.Record + (int64(m.Offset+m.Header)+m.Size+size-1)/size
			}
		}
		if from >= 0 && from <= e.Record && e.Record < to {
			e.Items = append(e.Items, it.Host+":"+it.Path)
		}
	}
	return e
}

// catalog gives a session's catalog as the ledger makes it, which must be what is on tape.
func (r *reader) catalog(ctx context.Context, p *part) error {
	s := p.session
	made, err := r.MakeCatalog(ctx, s, s.Closed)
	if err != nil {
		return err
	}
	defer made.Discard()
	if made.Sum != s.Catalog.MD5 {
		return fmt.Errorf("the ledger makes a catalog of session %d with md5 %s, on tape it has %s", s.Number, made.Sum, s.Catalog.MD5)
	}
	out := &cutter{ctx: ctx, r: r, part: p}
	records, err := made.WriteTapeFile(out)
	if err == nil && records != s.Catalog.Records {
		err = fmt.Errorf("the catalog of session %d takes %d records, on tape it has %d", s.Number, records, s.Catalog.Records)
	}
	return err
}

// cutter cuts what is written to it into records. What comes is a multiple of the record size.
type cutter struct {
	ctx  context.Context
	r    *reader
	part *part
	buf  []byte
	n    int // bytes of buf that are filled
}

func (c *cutter) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		if c.buf == nil {
			var err error
			if c.buf, err = c.r.buffer(c.ctx); err != nil {
				return 0, err
			}
		}
		n := copy(c.buf[c.n:], left)
		c.n, left = c.n+n, left[n:]
		if c.n == len(c.buf) {
			if err := c.r.give(c.ctx, block{data: c.buf, part: c.part}); err != nil {
				return 0, err
			}
			c.buf, c.n = nil, 0
		}
	}
	return len(p), nil
}
