package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"twintape/internal/catalog"
	"twintape/internal/tape"
)

// firstRecord is the block behind the label and its filemark.
const firstRecord = 2

// mostRecord is the longest record that is looked at, in bytes: of what twintape writes none is longer.
const mostRecord = 1 << 20

// label reads the first record, and tells whether the tape is ours.
func (s *scan) label(ctx context.Context) error {
	if err := s.d.Rewind(ctx); err != nil {
		return err
	}
	buf := make([]byte, mostRecord)
	n, err := s.d.ReadRecord(ctx, buf)
	switch {
	case errors.Is(err, tape.ErrEndOfData):
		s.r.Blank = true
		return nil
	case errors.Is(err, tape.ErrFilemark):
		s.r.Foreign = "a filemark at its beginning, and no label"
		return nil
	case errors.Is(err, tape.ErrShortBuffer):
		s.r.Foreign = fmt.Sprintf("records of more than %d bytes of another program", len(buf))
		return nil
	case err != nil:
		return fmt.Errorf("reading the first record: %w", err)
	}
	label, err := catalog.ParseLabel(buf[:n])
	if err != nil {
		s.r.Foreign = identify(buf[:n], err)
		return nil
	}
	if label.Barcode != s.r.Barcode {
		return fmt.Errorf("its label says %s (twin of %s): two tapes changed places, or a barcode was stuck on the wrong cartridge", label.Barcode, label.Twin)
	}
	s.r.Label = label
	return nil
}

// identify names what a first record that is no label of ours belongs to.
func identify(record []byte, why error) string {
	at := func(offset int, text string) bool {
		return len(record) >= offset && bytes.HasPrefix(record[offset:], []byte(text))
	}
	switch {
	case at(0, "twintape volume label\n"):
		return fmt.Sprintf("a volume label of twintape's that is damaged, or of another version: %v", why)
	case at(0, "VOL1") && at(24, "LTFS"):
		return "an LTFS volume"
	case at(0, "VOL1"):
		return fmt.Sprintf("an ANSI labelled volume %q", record[4:min(10, len(record))])
	case at(0, "## Paper dump catalog"):
		return "a tape of paper-dump"
	case at(257, "ustar"):
		return "a tar archive"
	}
	return "data of another program"
}
