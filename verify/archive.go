package verify

import (
	"fmt"
	"sort"

	"twintape/internal/catalog"
)

// archive is one archive of the tape as its catalog describes it. Offsets count bytes from the beginning of its first
// record.
type archive struct {
	*catalog.Archive
	index   int // by its order on the tape
	records int64
	crcs    []byte // CRC32C of its records, little-endian; nil where only the ledger tells of the archive
	items   []item
	members []part // in tape order
	texts   []part // manifest and checksums, from the archive's beginning and to its end; nil unless everything is read
}

// item is how much of an item was read.
type item struct {
	*catalog.Item
	first, last int   // its members, from first to before last
	unread      int   // of these, how many have not passed entirely
	unmatched   int   // of these, how many have not passed entirely or did not match
	data        int64 // bytes of members' data that were read and matched
}

// counts tells whether the item is archived on this tape at all.
func (i *item) counts() bool { return i.Bad == "" }

// part is a member, or a text of twintape's own: where its header, its data begins, and where the data ends.
type part struct {
	entry            *catalog.Entry // nil for a text
	item             int
	text             []byte
	start, data, end int64
}

// lay finds the parts of an archive by its entries' places.
func lay(index int, a *catalog.Archive, records int64, crcs []byte) *archive {
	l := &archive{Archive: a, index: index, records: records, crcs: crcs, items: make([]item, len(a.Items))}
	for n := range a.Items {
		it := &l.items[n]
		it.Item, it.first = &a.Items[n], len(l.members)
		for m := range it.Entries {
			e := &it.Entries[m]
			if !e.Type.OnTape() {
				continue
			}
			start := (e.Record-a.Record)*int64(a.RecordSize) + int64(e.Offset)
			data := start + int64(e.Header)
			l.members = append(l.members, part{entry: e, item: n, start: start, data: data, end: data + e.Size})
		}
		it.last = len(l.members)
		it.unread = it.last - it.first
		it.unmatched = it.unread
	}
	return l
}

// expectTexts makes the bytes before the first member and behind the last as they must be, for walk to compare. It fails
// if the format lays the archive out otherwise than its entries' places say.
func (a *archive) expectTexts() error {
	size := a.records * int64(a.RecordSize)
	head, tail := part{end: size}, part{start: size, data: size, end: size}
	if n := len(a.members); n > 0 {
		head.end, tail.start, tail.data = a.members[0].start, a.members[n-1].end, a.members[n-1].end
	}
	at := int64(0)
	for piece, err := range a.Pieces() {
		if err != nil {
			return err
		}
		text := piece.Literal
		switch {
		case piece.Data != nil:
			at += piece.Data.Size
			continue
		case piece.Sums > 0:
			text = a.SumsText()
		}
		for _, t := range []*part{&head, &tail} {
			if from, to := max(t.start, at), min(t.end, at+int64(len(text))); from < to {
				t.text = append(t.text, text[from-at:to-at]...)
			}
		}
		at += int64(len(text))
	}
	if at != size || int64(len(head.text)) != head.end || int64(len(tail.text)) != tail.end-tail.start {
		return fmt.Errorf("the format lays it out in %d bytes, the catalog in %d", at, size)
	}
	a.texts = []part{head, tail}
	return nil
}

// run is the blocks that an item's members lie in; empty if nothing of it is on the tape.
func (a *archive) run(n int) run {
	it := a.items[n]
	if it.first == it.last {
		return run{}
	}
	size := int64(a.RecordSize)
	return run{a.Record + a.members[it.first].start/size, a.Record + (a.members[it.last-1].end+size-1)/size}
}

// around returns the members that have a byte from one offset to before another.
func (a *archive) around(from, to int64) []part {
	first := sort.Search(len(a.members), func(i int) bool { return a.members[i].end > from })
	last := first
	for last < len(a.members) && a.members[last].start < to {
		last++
	}
	return a.members[first:last]
}

// nearest returns the member with a byte from one offset to before another, or else the last one before, or the first.
func (a *archive) nearest(from, to int64) *catalog.Entry {
	if near := a.around(from, to); len(near) > 0 {
		return near[0].entry
	}
	next := sort.Search(len(a.members), func(i int) bool { return a.members[i].end > from })
	switch {
	case next > 0:
		return a.members[next-1].entry
	case len(a.members) > 0:
		return a.members[0].entry
	}
	return &catalog.Entry{}
}
