package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// LongestRecord is the longest record that is looked at, in bytes: of what twintape writes none is longer.
const LongestRecord = 1 << 20

// Beginning is what stands at the beginning of a tape.
type Beginning struct {
	What   string         // in words; empty if the tape is blank
	Record []byte         // the first record; nil if there is none, or it is too long
	Label  *catalog.Label // nil unless the record is a label of ours
}

// Begins reads what stands at the beginning of a tape. The drive stands anywhere after it. What cannot be read is an error.
func Begins(ctx context.Context, d tape.Drive) (Beginning, error) {
	if err := d.Rewind(ctx); err != nil {
		return Beginning{}, err
	}
	buf := make([]byte, LongestRecord)
	n, err := d.ReadRecord(ctx, buf)
	switch {
	case errors.Is(err, tape.ErrEndOfData):
		return Beginning{}, nil
	case errors.Is(err, tape.ErrFilemark):
		return Beginning{What: "a filemark, as a tape that was erased by hand"}, nil
	case errors.Is(err, tape.ErrShortBuffer):
		return Beginning{What: fmt.Sprintf("records of more than %d bytes", LongestRecord)}, nil
	case err != nil:
		return Beginning{}, fmt.Errorf("reading the first record: %w", err)
	}
	b := Beginning{Record: buf[:n], What: fmt.Sprintf("%s (its first record has %d bytes, CRC32C %08X)", kindOf(buf[:n]), n, digest.CRC32C(buf[:n]))}
	if label, err := catalog.ParseLabel(b.Record); err == nil {
		b.Label = &label
	}
	return b, nil
}

// kindOf names what writes such a first record.
func kindOf(record []byte) string {
	label, err := catalog.ParseLabel(record)
	switch {
	case err == nil:
		return fmt.Sprintf("a twintape volume labelled %s (UUID %s), written %s", label.Barcode, label.Tape, label.Created.Format("2006-01-02"))
	case bytes.HasPrefix(record, []byte("twintape volume label\n")):
		return fmt.Sprintf("a volume label of twintape's that is damaged, or of another version: %v", err)
	}
	if after, ok := bytes.CutPrefix(record, []byte("VOL1")); ok {
		volume := "of no name"
		if len(after) >= 6 {
			if name := strings.TrimSpace(string(after[:6])); name != "" {
				volume = strconv.QuoteToASCII(name)
			}
		}
		if bytes.Contains(after[:min(len(after), 76)], []byte("LTFS")) {
			return "an LTFS volume, " + volume
		}
		return "a tape with an ANSI label (VOL1), volume " + volume
	}
	line, _, _ := bytes.Cut(record[:min(len(record), 200)], []byte("\n"))
	line = bytes.TrimRight(line, "\x00 ")
	switch {
	case paperdump.IsCatalog(record):
		return fmt.Sprintf("a volume of paper-dump, %s", strconv.QuoteToASCII(string(line)))
	case bytes.HasPrefix(record, []byte("AMANDA: TAPESTART")):
		return fmt.Sprintf("a volume of Amanda, %s", strconv.QuoteToASCII(string(line)))
	case len(record) > 16 && (string(record[12:16]) == "BB01" || string(record[12:16]) == "BB02"):
		return "a volume of Bacula or Bareos"
	case isTar(record):
		name, _, _ := bytes.Cut(record[:100], []byte{0})
		return fmt.Sprintf("a tar archive that begins with %s", strconv.QuoteToASCII(string(name)))
	case bytes.HasPrefix(record, []byte("0707")):
		return "a cpio archive"
	}
	return "data of an unknown kind"
}

// isTar tells whether a record begins with a tar header, by its checksum: the sum of its bytes, with blanks for the checksum.
func isTar(record []byte) bool {
	if len(record) < 512 {
		return false
	}
	field := strings.Trim(string(record[148:156]), " \x00")
	want, err := strconv.ParseUint(field, 8, 32)
	if err != nil {
		return false
	}
	sum := uint64(8 * ' ')
	for i, c := range record[:512] {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return sum == want && record[0] != 0
}

// Contents loads a tape that holds no copies and tells what stands at its beginning, in words; empty if it is blank. With
// overwrite its owner lets that be overwritten: the next job that chooses the tape does, unless something else stands there
// by then.
func (a *Archiver) Contents(ctx context.Context, barcode string, overwrite bool) (what string, err error) {
	t, err := a.Ledger.Tape(ctx, barcode)
	if err != nil {
		return "", err
	}
	if t.Pair != "" && overwrite {
		return "", fmt.Errorf("tape %s belongs to a pair, and the ledger counts what lies on it: it is never overwritten", barcode)
	}
	drives, err := a.PickDrives(ctx, []string{barcode})
	if err != nil {
		return "", err
	}
	loaded, err := Load(ctx, a.Library, []string{barcode}, drives)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.PutBack(context.WithoutCancel(ctx), loaded[0], 0)) }()
	if overwrite {
		if err := loaded[0].writable(); err != nil {
			return "", loaded[0].failed(err)
		}
	}
	begins, err := Begins(ctx, loaded[0].Drive)
	if err != nil {
		return "", loaded[0].failed(fmt.Errorf("looking what it holds: %w", err))
	}
	what = begins.What
	if overwrite && what != "" {
		return what, a.Ledger.AllowOverwrite(ctx, barcode, what)
	}
	return what, nil
}
