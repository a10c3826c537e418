package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"twintape/internal/digest"
)

// The files in a catalog's tape file, in this order.
const (
	catalogName = "catalog.jsonl"
	crcsName    = "records.crc32c"
	sumsName    = "catalog.MD5SUMS"
)

func (s *Session) own(name string, size int64) *Entry { return own(s.Session, name, size, s.Closed) }

// sumsText is the MD5SUMS of the catalog's tape file.
func (s *Session) sumsText(jsonl, crcs MD5) []byte {
	b := appendSum(nil, jsonl, ownHost+"/"+s.Session+"/"+catalogName)
	return appendSum(b, crcs, ownHost+"/"+s.Session+"/"+crcsName)
}

// TapeFileRecords returns how many records the session's catalog takes, with size bytes of JSON lines and crcSize bytes
// of checksums.
func TapeFileRecords(s Session, size, crcSize int64) (int64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	if size < 0 || crcSize < 0 || size > maxSize || crcSize > maxSize {
		return 0, fmt.Errorf("%w: catalog of %d bytes with %d bytes of checksums", ErrFormat, size, crcSize)
	}
	n := int64(trailer)
	for _, e := range []*Entry{s.own(catalogName, size), s.own(crcsName, crcSize), s.own(sumsName, int64(len(s.sumsText(MD5{}, MD5{}))))} {
		if err := addOwn(&n, e); err != nil {
			return 0, err
		}
	}
	return records(n, s.RecordSize), nil
}

// WriteTapeFile writes the catalog's tape file to w, in chunks of any size, and returns its number of records: a tar of
// jsonl, which has the given size and checksum as Writer.Close tells them, of crcs, the CRC32C of every record of the
// session's archives in order, 4 bytes each, little-endian, and of their MD5SUMS. The same input gives the same bytes.
func WriteTapeFile(w io.Writer, s Session, jsonl io.Reader, size int64, sum MD5, crcs io.Reader, crcSize int64) (int64, error) {
	total, err := TapeFileRecords(s, size, crcSize)
	if err != nil {
		return 0, err
	}
	var n counter
	w = io.MultiWriter(w, &n)
	got, err := writeOwn(w, s.own(catalogName, size), jsonl)
	if err != nil {
		return 0, err
	}
	if got != sum {
		return 0, fmt.Errorf("catalog of session %s has md5 %s now, %s when it was made", s.Session, got, sum)
	}
	crcSum, err := writeOwn(w, s.own(crcsName, crcSize), crcs)
	if err != nil {
		return 0, err
	}
	text := s.sumsText(got, crcSum)
	if _, err := writeOwn(w, s.own(sumsName, int64(len(text))), bytes.NewReader(text)); err != nil {
		return 0, err
	}
	if err := writeZeros(w, total*int64(s.RecordSize)-int64(n)); err != nil {
		return 0, err
	}
	return total, nil
}

// writeOwn writes one file of the tar and returns the checksum of its content.
func writeOwn(w io.Writer, e *Entry, content io.Reader) (MD5, error) {
	if err := writeHeader(w, e); err != nil {
		return MD5{}, err
	}
	sum := digest.NewMD5()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(content, e.Size))
	if err == nil && n < e.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		switch _, more := io.ReadFull(content, make([]byte, 1)); {
		case more == nil:
			err = errors.New("it is longer")
		case !errors.Is(more, io.EOF):
			err = more
		}
	}
	if err != nil {
		return MD5{}, fmt.Errorf("%s%s after %d of %d bytes: %w", e.Host, e.Path, n, e.Size, err)
	}
	return MD5(sum.Sum(nil)), writeZeros(w, padded(n)-n)
}

func writeZeros(w io.Writer, n int64) error {
	for n > 0 {
		k, err := w.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// ReadTapeFile splits a catalog's tape file, whose records r gives one after the other, into its JSON lines and its
// checksums, and returns the session and the md5 of the JSON lines. It checks every byte: md5s, headers, padding; what it
// wrote to jsonl and crcs before an error is worth nothing. The lines behind the head are for NewReader to check.
func ReadTapeFile(r io.Reader, jsonl, crcs io.Writer) (Session, MD5, error) {
	var n counter
	r = io.TeeReader(r, &n)
	first, err := readOwn(r)
	if err != nil {
		return Session{}, MD5{}, err
	}
	// The session stands in the JSON lines, so the first header can be checked only after their head.
	jsonlSum := digest.NewMD5()
	content := &io.LimitedReader{R: io.TeeReader(r, io.MultiWriter(jsonl, jsonlSum)), N: first.entry.Size}
	head, err := NewReader(content)
	if err != nil {
		return Session{}, MD5{}, err
	}
	s := head.Session()
	if err := first.check(s.own(catalogName, first.entry.Size)); err != nil {
		return Session{}, MD5{}, err
	}
	if err := first.rest(r, content); err != nil {
		return Session{}, MD5{}, err
	}
	crcSum := digest.NewMD5()
	if err := s.readNext(r, crcsName, io.MultiWriter(crcs, crcSum)); err != nil {
		return Session{}, MD5{}, err
	}
	sum := MD5(jsonlSum.Sum(nil))
	var text bytes.Buffer
	if err := s.readNext(r, sumsName, &text); err != nil {
		return Session{}, MD5{}, err
	}
	if !bytes.Equal(text.Bytes(), s.sumsText(sum, MD5(crcSum.Sum(nil)))) {
		return Session{}, MD5{}, fmt.Errorf("%w: the catalog of session %s differs from its MD5SUMS", ErrFormat, s.Session)
	}
	total := records(int64(n)+trailer, s.RecordSize) * int64(s.RecordSize)
	if err := readZeros(r, total-int64(n)); err != nil {
		return Session{}, MD5{}, err
	}
	switch _, err := io.ReadFull(r, make([]byte, 1)); {
	case err == nil:
		return Session{}, MD5{}, fmt.Errorf("%w: the tape file goes on behind the catalog of session %s", ErrFormat, s.Session)
	case !errors.Is(err, io.EOF):
		return Session{}, MD5{}, err
	}
	return s, sum, nil
}

// part is one file of the catalog's tape file while it is read.
type part struct {
	entry  Entry
	header []byte
}

// readOwn reads the next header.
func readOwn(r io.Reader) (*part, error) {
	var raw bytes.Buffer
	e, _, err := readHeader(io.TeeReader(r, &raw))
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the catalog's tape file ends where a header must follow", ErrFormat)
	}
	return &part{entry: e, header: raw.Bytes()}, err
}

// check compares the header with the one that must stand there.
func (p *part) check(want *Entry) error {
	var b bytes.Buffer
	if err := writeHeader(&b, want); err != nil {
		return err
	}
	if !bytes.Equal(b.Bytes(), p.header) {
		return fmt.Errorf("%w: the catalog's tape file has the header of %s%s where that of %s%s, %d bytes, must stand", ErrFormat,
			clip(p.entry.Host), printable(clip(p.entry.Path)), want.Host, want.Path, want.Size)
	}
	return nil
}

// rest reads what is left of the content, and the padding.
func (p *part) rest(r io.Reader, content *io.LimitedReader) error {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	if content.N > 0 {
		return fmt.Errorf("%w: %s%s is cut off %d bytes before its end", ErrFormat, clip(p.entry.Host), printable(clip(p.entry.Path)), content.N)
	}
	return readZeros(r, padded(p.entry.Size)-p.entry.Size)
}

// readNext reads one file whose name is known to w.
func (s *Session) readNext(r io.Reader, name string, w io.Writer) error {
	p, err := readOwn(r)
	if err != nil {
		return err
	}
	size := p.entry.Size
	if name == sumsName {
		size = int64(len(s.sumsText(MD5{}, MD5{})))
	}
	if err := p.check(s.own(name, size)); err != nil {
		return err
	}
	return p.rest(r, &io.LimitedReader{R: io.TeeReader(r, w), N: size})
}

// readZeros reads n bytes of padding.
func readZeros(r io.Reader, n int64) error {
	var buf [block]byte
	for n > 0 {
		b := buf[:min(n, block)]
		if _, err := io.ReadFull(r, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: the catalog's tape file is cut off in its padding", ErrFormat)
		} else if err != nil {
			return err
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			return fmt.Errorf("%w: the padding in the catalog's tape file is not zero", ErrFormat)
		}
		n -= int64(len(b))
	}
	return nil
}
