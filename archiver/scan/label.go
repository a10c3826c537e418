package scan

import (
	"context"
	"fmt"

	"twintape/archiver"
	"twintape/internal/paperdump"
)

// firstRecord is the block behind the label and its filemark.
const firstRecord = 2

// label reads the first record, and tells whether the tape is ours, or one whose contents we know how to take in.
func (s *scan) label(ctx context.Context) error {
	begins, err := archiver.Begins(ctx, s.d)
	switch {
	case err != nil:
		return err
	case begins.What == "":
		s.r.Blank = true
	case paperdump.IsCatalog(begins.Record):
		if s.old, err = paperdump.ParseCatalog(begins.Record); err != nil {
			s.r.Foreign = fmt.Sprintf("%s, whose catalog cannot be read: %v", begins.What, err)
		}
	case begins.Label == nil:
		s.r.Foreign = begins.What
	case begins.Label.Barcode != s.r.Barcode:
		return fmt.Errorf("its label says %s (twin of %s): two tapes changed places, or a barcode was stuck on the wrong cartridge", begins.Label.Barcode, begins.Label.Twin)
	default:
		s.r.Label = *begins.Label
	}
	return nil
}
