package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"twintape/internal/catalog"
)

// label reads tape file 0. It returns foreign if the label proves that this is another tape than expected.
func (c *check) label(ctx context.Context) (foreign bool, err error) {
	if err := c.d.Rewind(ctx); err != nil {
		return false, fmt.Errorf("rewinding: %w", err)
	}
	file := &tapeFile{ctx: ctx, check: c, buf: make([]byte, c.e.RecordSize)}
	file.fill()
	if file.failed != nil {
		return false, fmt.Errorf("the volume label: %w", file.failed)
	}
	m := Mismatch{Kind: KindLabel}
	if file.err != nil {
		m.Reason = fmt.Sprintf("the volume label is unreadable: %v", file.err)
		c.found(m)
		return false, nil
	}
	l, err := catalog.ParseLabel(file.buf)
	if err != nil {
		m.Reason = fmt.Sprintf("the first record is no good volume label: %v", err)
		c.found(m)
		return false, nil
	}
	if m := c.identity(l); m.Kind != "" {
		c.found(m)
		return true, nil
	}
	c.proven = true
	if l.RecordSize != c.e.RecordSize {
		m.Expected, m.Found, m.Reason = fmt.Sprint(c.e.RecordSize), fmt.Sprint(l.RecordSize), "the label's record size differs from the ledger"
		c.found(m)
	}
	file.fill()
	switch {
	case file.failed != nil:
		return false, fmt.Errorf("the filemark behind the label: %w", file.failed)
	case file.err == nil:
		c.found(Mismatch{Kind: KindStructure, Record: 1, Expected: "a filemark", Found: "a record", Reason: "the label has more than one record"})
	case !errors.Is(file.err, io.EOF):
		c.found(Mismatch{Kind: KindStructure, Record: 1, Expected: "a filemark", Found: file.err.Error(), Reason: "the label does not end where it should"})
	}
	return false, nil
}

// identity names a tape that is not the expected one; a zero mismatch is none.
func (c *check) identity(l catalog.Label) Mismatch {
	m := Mismatch{Kind: KindIdentity}
	switch {
	case l.Barcode != c.e.Barcode && l.Twin == c.e.Barcode && (c.e.Pair == "" || l.Pair == c.e.Pair):
		m.Reason = fmt.Sprintf("%s holds %s (twin of %s) where %s was expected: the two tapes were swapped", c.d.Name(), l.Barcode, l.Twin, c.e.Barcode)
	case l.Barcode != c.e.Barcode:
		m.Reason = fmt.Sprintf("%s holds a tape labelled %s (twin of %s) where %s was expected", c.d.Name(), l.Barcode, l.Twin, c.e.Barcode)
	case c.e.Tape != "" && l.Tape != c.e.Tape:
		m.Reason = fmt.Sprintf("%s holds a tape labelled %s with another UUID: it was labelled anew, or two cartridges have one barcode", c.d.Name(), l.Barcode)
		m.Expected, m.Found = c.e.Tape, l.Tape
	case c.e.Pair != "" && l.Pair != c.e.Pair:
		m.Reason = fmt.Sprintf("the label of %s names another pair", l.Barcode)
		m.Expected, m.Found = c.e.Pair, l.Pair
	default:
		m.Kind = ""
	}
	return m
}
