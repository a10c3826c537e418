package verify

import (
	"bytes"
	"fmt"
	"hash"
	"sort"

	"twintape/internal/catalog"
)

// walk goes over the bytes of one archive as they come from the drive, in order but with gaps, and compares every member
// that passes entirely, and every byte of the texts.
type walk struct {
	a     *archive
	wrong func(offset int64, p *part, m Mismatch)
	md5   hash.Hash
	parse func(header []byte) (catalog.Entry, int, error)

	next   int   // the member that is under way or comes next
	at     int64 // how far the bytes passed without a gap
	header []byte
	sum    []byte
	differ bool // the member under way does not match
}

// begin turns to the beginning of another archive.
func (w *walk) begin(a *archive) { w.a, w.next, w.at = a, 0, 0 }

// pass takes the archive's bytes from an offset on.
func (w *walk) pass(off int64, p []byte) {
	for i := range w.a.texts {
		w.compare(&w.a.texts[i], off, p)
	}
	members, end := w.a.members, off+int64(len(p))
	if off != w.at { // whatever was under way cannot be judged
		w.next = sort.Search(len(members), func(i int) bool { return members[i].start >= off })
	}
	w.at = end
	for ; w.next < len(members) && members[w.next].start < end; w.next++ {
		m := &members[w.next]
		from := max(m.start, off)
		w.take(m, from, p[from-off:min(m.end, end)-off])
		if m.end > end {
			return
		}
		w.passed(m)
	}
}

// compare looks at those of the bytes that belong to a text.
func (w *walk) compare(t *part, off int64, p []byte) {
	from, to := max(t.start, off), min(t.end, off+int64(len(p)))
	if from >= to {
		return
	}
	found, expected := p[from-off:to-off], t.text[from-t.start:to-t.start]
	if bytes.Equal(found, expected) {
		return
	}
	i := 0
	for found[i] == expected[i] {
		i++
	}
	which := "the manifest"
	if t.start > 0 {
		which = "MD5SUMS or what ends the archive"
	}
	w.wrong(from+int64(i), t, Mismatch{
		Kind:     KindStructure,
		Expected: fmt.Sprintf("%q", clip(expected[i:])),
		Found:    fmt.Sprintf("%q", clip(found[i:])),
		Reason:   fmt.Sprintf("%s differs from the catalog at byte %d of the archive", which, from+int64(i)),
	})
}

func clip(b []byte) []byte { return b[:min(len(b), 32)] }

// take looks at bytes of one member, which come without a gap from its beginning.
func (w *walk) take(m *part, from int64, p []byte) {
	if from == m.start {
		w.header, w.differ = w.header[:0], false
		w.md5.Reset()
	}
	if from < m.data {
		n := min(int64(len(p)), m.data-from)
		w.header = append(w.header, p[:n]...)
		p = p[n:]
		if from+n == m.data {
			w.checkHeader(m)
		}
	}
	w.md5.Write(p)
}

func (w *walk) checkHeader(m *part) {
	e, n, err := w.parse(w.header)
	if err != nil {
		w.bad(m, Mismatch{Reason: fmt.Sprintf("the member's tar header is unreadable: %v", err)})
		return
	}
	if n != len(w.header) {
		w.bad(m, Mismatch{Expected: fmt.Sprint(len(w.header)), Found: fmt.Sprint(n), Reason: "the length of the member's tar header differs from the catalog"})
		return
	}
	if d, ok := metadata(m.entry, &e); ok {
		w.bad(m, Mismatch{Expected: d.expected, Found: d.found, Reason: d.field + " in the member's tar header differs from the catalog"})
	}
}

// passed judges a member whose last byte has passed.
func (w *walk) passed(m *part) {
	it := &w.a.items[m.item]
	it.unread--
	if m.entry.Type == catalog.File && !m.entry.MD5.IsZero() {
		w.sum = w.md5.Sum(w.sum[:0])
		if found := catalog.MD5(w.sum); found != m.entry.MD5 {
			w.bad(m, Mismatch{Expected: m.entry.MD5.String(), Found: found.String(), Reason: "the md5 of the member's data differs from the catalog"})
		}
	}
	if !w.differ {
		it.unmatched--
		it.data += m.entry.Size
	}
}

func (w *walk) bad(m *part, mm Mismatch) {
	w.differ = true
	mm.Kind = KindMember
	w.wrong(m.start, m, mm)
}
