package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"twintape/internal/digest"
)

// Kind is what a tape file behind the label is.
type Kind string

// The kinds of tape files.
const (
	ArchiveFile Kind = "archive"
	CatalogFile Kind = "catalog"
	OtherFile   Kind = "something else"
)

// TapeFileKind tells by the first record of a tape file what the file is.
func TapeFileKind(record []byte) Kind {
	e, _, err := readHeader(bytes.NewReader(record))
	if err != nil || e.Host != ownHost || e.Type != File {
		return OtherFile
	}
	switch _, name, _ := strings.Cut(e.Path[1:], "/"); {
	case name == catalogName:
		return CatalogFile
	case strings.HasSuffix(name, manifestSuffix):
		return ArchiveFile
	}
	return OtherFile
}

// ReadArchiveHead reads the manifest at the beginning of an archive's tape file, as ReadManifest does.
func ReadArchiveHead(r io.Reader) (*Archive, error) {
	first, err := readOwn(r)
	if err != nil {
		return nil, err
	}
	content := &io.LimitedReader{R: r, N: first.entry.Size}
	a, err := ReadManifest(content)
	if err != nil {
		return nil, err
	}
	if err := first.check(a.manifest(first.entry.Size)); err != nil {
		return nil, err
	}
	return a, first.rest(r, content)
}

// LeastRecords is how many records an archive takes at least, as far as its manifest tells: of the members' headers only
// the shortest length is known.
func (a *Archive) LeastRecords() (int64, error) {
	manifest, err := a.manifestSize()
	if err != nil {
		return 0, err
	}
	n := int64(trailer)
	for _, e := range []*Entry{a.manifest(manifest), a.sums(a.SumsSize())} {
		if err := addOwn(&n, e); err != nil {
			return 0, err
		}
	}
	for e := range a.onTape() {
		if n += block + padded(e.Size); n > maxSize {
			return 0, fmt.Errorf("%w: archive %d would be longer than %d bytes", ErrFormat, a.Number, int64(maxSize))
		}
	}
	return records(n, a.RecordSize), nil
}

// ReadArchive reads an archive's tape file, whose records r gives one after the other, by what it says of itself: manifest,
// tar headers and MD5SUMS. The entries have their places and the MD5s of MD5SUMS, or a reason where that has zeros; what only
// a catalog tells is missing: members that are not on tape, and why an item is bad. damaged says of items, by their order,
// why what was read is not what MD5SUMS says. An error that wraps ErrFormat says that the archive as a whole cannot be
// understood. Memory grows with the manifest's length.
func ReadArchive(r io.Reader) (a *Archive, records int64, damaged map[int]string, err error) {
	var n counter
	r = io.TeeReader(r, &n)
	if a, err = ReadArchiveHead(r); err != nil {
		return nil, 0, nil, err
	}
	damaged = make(map[int]string)
	var places []Place
	found := make(map[*Entry]MD5)
	for i := range a.Items {
		it := &a.Items[i]
		for j := range it.Entries {
			e := &it.Entries[j]
			at := int64(n)
			if err := a.readMember(r, e); err != nil {
				return nil, 0, nil, err
			}
			places = append(places, Place{
				Archive: a.Number, Record: a.Record + at/int64(a.RecordSize), Offset: int(at % int64(a.RecordSize)), Header: int(int64(n) - at),
			})
			sum, err := readData(r, e.Size)
			if err != nil {
				return nil, 0, nil, err
			}
			found[e] = sum
		}
	}
	if err := a.readSums(r, found, damaged); err != nil {
		return nil, 0, nil, err
	}
	layout, err := a.Layout()
	if err != nil {
		return nil, 0, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for e := range a.onTape() {
		if e.Place != places[0] {
			return nil, 0, nil, fmt.Errorf("%w: %s:%s lies at %+v, its archive says %+v", ErrFormat, e.Host, printable(clip(e.Path)), places[0], e.Place)
		}
		places = places[1:]
	}
	if _, err := io.CopyN(io.Discard, r, layout.Records*int64(a.RecordSize)-int64(n)); err != nil {
		return nil, 0, nil, whole(err)
	}
	switch _, err := io.ReadFull(r, make([]byte, 1)); {
	case err == nil:
		return nil, 0, nil, fmt.Errorf("%w: the tape file goes on behind archive %d", ErrFormat, a.Number)
	case !errors.Is(err, io.EOF):
		return nil, 0, nil, err
	}
	return a, layout.Records, damaged, nil
}

// readMember reads the header of the member that the manifest has as e, and puts on e what it tells.
func (a *Archive) readMember(r io.Reader, e *Entry) error {
	h, _, err := readHeader(r)
	if errors.Is(err, io.EOF) {
		return whole(err)
	}
	if err != nil {
		return err
	}
	if h.Host != e.Host || h.Path != e.Path || h.Type != e.Type || h.Size != e.Size {
		return fmt.Errorf("%w: the tar header of %s:%s stands where the manifest has %s:%s", ErrFormat,
			clip(h.Host), printable(clip(h.Path)), e.Host, printable(clip(e.Path)))
	}
	if err := h.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	*e = h
	return nil
}

// readData reads a member's data with its padding, and returns its checksum.
func readData(r io.Reader, size int64) (MD5, error) {
	sum := digest.NewMD5()
	if _, err := io.CopyN(sum, r, size); err != nil {
		return MD5{}, whole(err)
	}
	if _, err := io.CopyN(io.Discard, r, padded(size)-size); err != nil {
		return MD5{}, whole(err)
	}
	return MD5(sum.Sum(nil)), nil
}

// whole makes an end where data must follow an error of the format.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the archive is cut off", ErrFormat)
	}
	return err
}

// readSums reads MD5SUMS and compares it with the checksums of the data that was read.
func (a *Archive) readSums(r io.Reader, found map[*Entry]MD5, damaged map[int]string) error {
	p, err := readOwn(r)
	if err != nil {
		return err
	}
	if err := p.check(a.sums(a.SumsSize())); err != nil {
		return err
	}
	text := make([]byte, 0, min(p.entry.Size, 1<<20))
	buf := bytes.NewBuffer(text)
	if err := p.rest(r, &io.LimitedReader{R: io.TeeReader(r, buf), N: p.entry.Size}); err != nil {
		return err
	}
	text = buf.Bytes()
	for i := range a.Items {
		for j := range a.Items[i].Entries {
			e := &a.Items[i].Entries[j]
			if e.Type != File {
				continue
			}
			line := text[:sumSize(e.Host+e.Path)]
			text = text[len(line):]
			why := ""
			switch sum, ok := e.sumOf(line); {
			case !ok:
				why = "its line in MD5SUMS is damaged"
			case sum.IsZero():
				e.Bad = "it went bad when the tape was written; no catalog tells why"
			default:
				if e.MD5 = sum; found[e] != sum {
					why = fmt.Sprintf("md5 %s is expected, found is %s", sum, found[e])
				}
			}
			if why == "" {
				continue
			}
			if e.MD5.IsZero() {
				e.Bad = why
			}
			if damaged[i] == "" {
				damaged[i] = fmt.Sprintf("%s:%s: %s", e.Host, printable(e.Path), why)
			}
		}
	}
	return nil
}

// sumOf reads the member's line of MD5SUMS.
func (e *Entry) sumOf(line []byte) (MD5, bool) {
	digits := bytes.TrimPrefix(line, []byte("\\"))
	sum, err := ParseMD5(string(digits[:min(len(digits), len(noMD5))]))
	return sum, err == nil && bytes.Equal(line, appendSum(nil, sum, e.Host+e.Path))
}

// manifestSuffix ends the name of an archive's manifest, behind its number.
const manifestSuffix = ".manifest.jsonl"

func manifestName(number int) string { return strconv.Itoa(number) + manifestSuffix }
