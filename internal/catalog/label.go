package catalog

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"twintape/internal/digest"
)

// Label is the volume label, a tape's first record. It is written once, so only what never changes stands in it.
type Label struct {
	Tape       string // UUID of this cartridge's volume
	Pair       string // UUID, alike on both tapes of the pair
	Barcode    string
	Twin       string    // barcode of the pair's other tape when the label was written
	RecordSize int       // bytes, of every record on the tape
	Created    time.Time // to the second
}

const (
	labelTitle = "twintape volume label\n"
	// maxBarcode is the length of a volume tag (SMC-3, primary volume tag information).
	maxBarcode = 32
)

var noMD5 = MD5{}.String()

// Encode returns the label as a record: RecordSize bytes of UTF-8 text, padded with newlines.
func (l Label) Encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	head := l.head()
	text := []byte(head + l.help())
	if len(text) > l.RecordSize {
		return nil, fmt.Errorf("volume label of %s: its %d bytes of text do not fit in a record of %d bytes: choose a larger record_size",
			l.Barcode, len(text), l.RecordSize)
	}
	b := append(text, bytes.Repeat([]byte("\n"), l.RecordSize-len(text))...)
	return seal(b, len(head)), nil
}

// seal puts the record's md5 in the place of its zeros, at the end of the head.
func seal(record []byte, head int) []byte {
	copy(record[head-1-len(noMD5):], MD5(digest.MD5(record)).String())
	return record
}

func (l Label) check() error {
	if err := checkUUIDs(l.Tape, l.Pair); err != nil {
		return fmt.Errorf("volume label: %w", err)
	}
	if err := checkRecordSize(l.RecordSize); err != nil {
		return fmt.Errorf("volume label: %w", err)
	}
	for _, s := range []string{l.Barcode, l.Twin} {
		if s == "" || len(s) > maxBarcode || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%w: volume label: barcode %q is not 1 to %d printable ASCII characters", ErrFormat, clip(s), maxBarcode)
		}
	}
	if y := l.Created.UTC().Year(); l.Barcode == l.Twin || y < 1 || y > 9999 {
		return fmt.Errorf("%w: volume label: barcode %s, twin %s, created %v", ErrFormat, l.Barcode, l.Twin, l.Created)
	}
	return nil
}

// head is what programs read: a line a key.
func (l Label) head() string {
	return labelTitle +
		"format: " + strconv.Itoa(Version) + "\n" +
		"tape: " + l.Tape + "\n" +
		"pair: " + l.Pair + "\n" +
		"barcode: " + l.Barcode + "\n" +
		"twin: " + l.Twin + "\n" +
		"record-size: " + strconv.Itoa(l.RecordSize) + "\n" +
		"created: " + l.Created.UTC().Format(time.RFC3339) + "\n" +
		"label-md5: " + noMD5 + "\n"
}

// ParseLabel reads a tape's first record, the whole of it. Its text for humans may be of any wording; every byte is under
// the label's own md5.
func ParseLabel(record []byte) (Label, error) {
	rest, ok := bytes.CutPrefix(record, []byte(labelTitle))
	if !ok {
		return Label{}, fmt.Errorf("%w: the record does not begin as a volume label", ErrFormat)
	}
	var v [8]string
	for i, key := range []string{"format", "tape", "pair", "barcode", "twin", "record-size", "created", "label-md5"} {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		value, ok := bytes.CutPrefix(line, []byte(key+": "))
		if !found || !ok || len(value) > 64 {
			return Label{}, fmt.Errorf("%w: volume label: line %q where %q must stand", ErrFormat, clip(string(line)), key)
		}
		v[i], rest = string(value), after
		if i == 0 && v[0] != strconv.Itoa(Version) {
			return Label{}, fmt.Errorf("%w: volume label: version %q; this program reads version %d", ErrFormat, v[0], Version)
		}
	}
	l := Label{Tape: v[1], Pair: v[2], Barcode: v[3], Twin: v[4]}
	var err error
	if l.RecordSize, err = strconv.Atoi(v[5]); err != nil {
		return Label{}, fmt.Errorf("%w: volume label: record size: %w", ErrFormat, err)
	}
	if l.Created, err = time.Parse(time.RFC3339, v[6]); err != nil {
		return Label{}, fmt.Errorf("%w: volume label: %w", ErrFormat, err)
	}
	if err := l.check(); err != nil {
		return Label{}, err
	}
	head := l.head()
	if len(record) != l.RecordSize {
		return Label{}, fmt.Errorf("%w: volume label of %s: the record has %d bytes, the label says %d", ErrFormat, l.Barcode, len(record), l.RecordSize)
	}
	// Head and md5 as we would write them: there is one spelling only.
	b := append([]byte(head), rest...)
	if !bytes.Equal(seal(b, len(head)), record) {
		return Label{}, fmt.Errorf("%w: volume label of %s: its md5 does not match", ErrFormat, l.Barcode)
	}
	return l, nil
}

// help is what humans read.
func (l Label) help() string {
	return strings.NewReplacer("{size}", strconv.Itoa(l.RecordSize), "{blocks}", strconv.Itoa(l.RecordSize/block)).Replace(labelHelp)
}

const labelHelp = `
This tape was written by twintape. Its twin holds the same tape files from 1 on,
byte for byte. Everything on it can be read with mt (the one of mt-st), dd, tar and
md5sum alone; /dev/nst0 stands for the drive (the non-rewinding device), N for a number.

What lies on it: tape file 0 is this label. Each further tape file is a POSIX tar:
  archive  a manifest, then files as host/absolute/path, then their md5 sums
  catalog  closes a session of archives: .twintape/SESSION/catalog.jsonl lists
           every file with its tape position and md5. A tape has one or more sessions.

First, after loading, set the drive to records of any length:
  mt -f /dev/nst0 setblk 0

This label:
  mt -f /dev/nst0 rewind
  dd if=/dev/nst0 bs={size} count=1

List or extract tape file N. tar needs -b {blocks} ({size} bytes a record), and it may
leave the tape before or behind the filemark: position with asf each time.
  mt -f /dev/nst0 asf N
  tar -b {blocks} -tvf /dev/nst0
  mt -f /dev/nst0 asf N
  tar -b {blocks} -xpf /dev/nst0

The catalog of the last session is the last tape file. Go to the end, ask for the
file number, and take one less; its first lines tell where the ones before it lie.
  mt -f /dev/nst0 eod
  mt -f /dev/nst0 status
  mt -f /dev/nst0 asf N
  tar -b {blocks} -xOf /dev/nst0 --wildcards '.twintape/*/catalog.jsonl'

Everything, into the current directory, until asf fails behind the last tape file:
  N=1
  while mt -f /dev/nst0 asf $N; do tar -b {blocks} -xpf /dev/nst0; N=$((N+1)); done

Check what was extracted. A sum of 32 zeros, which always fails, marks a file that
could not be read when the tape was written; the catalog tells why.
  md5sum -c .twintape/*/*MD5SUMS
`
