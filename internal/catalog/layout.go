package catalog

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Layout is the size of an archive's tape file.
type Layout struct {
	Records int64 // tape records
	Bytes   int64 // of the tar, before it is padded to whole records
	Data    int64 // of the members' data alone
	Sums    int64 // of the MD5SUMS text
}

// Piece is a run of an archive's bytes. Exactly one of its fields is set.
type Piece struct {
	Literal []byte // these bytes; valid until the next piece is asked for
	Data    *Entry // the Size bytes of this member's data, never 0
	Sums    int64  // the text of SumsText, this many bytes, never 0
}

// Layout lays the archive out: it sets the Place of every on-tape entry and returns the size of the whole. The result
// depends only on numbers and metadata, never on MD5 or Bad, so it can be made again at any time. An *EntryError says
// which member cannot be on tape as it is.
func (a *Archive) Layout() (Layout, error) {
	if err := a.check(); err != nil {
		return Layout{}, err
	}
	if err := a.checkItems(); err != nil {
		return Layout{}, err
	}
	manifest, err := a.manifestSize()
	if err != nil {
		return Layout{}, err
	}
	l := Layout{Sums: a.SumsSize()}
	if err := addOwn(&l.Bytes, a.manifest(manifest)); err != nil {
		return Layout{}, err
	}
	for e := range a.onTape() {
		n, err := headerSize(e)
		if err != nil {
			return Layout{}, err
		}
		e.Place = Place{
			Archive: a.Number,
			Record:  a.Record + l.Bytes/int64(a.RecordSize),
			Offset:  int(l.Bytes % int64(a.RecordSize)),
			Header:  n,
		}
		l.Data += e.Size
		l.Bytes += int64(n) + padded(e.Size)
		if l.Bytes > maxSize {
			return Layout{}, e.refuse("the archive would be longer than %d bytes", int64(maxSize))
		}
	}
	if err := addOwn(&l.Bytes, a.sums(l.Sums)); err != nil {
		return Layout{}, err
	}
	l.Bytes += trailer
	l.Records = records(l.Bytes, a.RecordSize)
	return l, nil
}

// trailer is the length of the two zero blocks that end a tar.
const trailer = 2 * block

// addOwn adds the length of one of twintape's own files, header and padding included.
func addOwn(n *int64, e *Entry) error {
	var h counter
	if err := writeHeader(&h, e); err != nil {
		return err
	}
	*n += int64(h) + padded(e.Size)
	return nil
}

// literalSize is about how long a literal piece becomes; one header more may come on top.
const literalSize = 64 << 10

// Pieces yields the archive's bytes in order, Layout's Records times RecordSize of them. Headers are made when they are
// asked for, so memory does not hold them all. After an error it yields nothing more. The archive must not be changed
// meanwhile, but for MD5 and Bad.
func (a *Archive) Pieces() iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		p := pieces{yield: yield, going: true}
		if err := a.pieces(&p); err != nil && p.going {
			yield(Piece{}, err)
		}
	}
}

// pieces collects literals and yields.
type pieces struct {
	yield func(Piece, error) bool
	buf   bytes.Buffer
	total int64
	going bool
}

// Write adds literal bytes.
func (p *pieces) Write(b []byte) (int, error) {
	p.total += int64(len(b))
	p.buf.Write(b)
	if p.buf.Len() >= literalSize {
		p.flush()
	}
	if !p.going {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func (p *pieces) flush() {
	if p.going && p.buf.Len() > 0 {
		p.going = p.yield(Piece{Literal: p.buf.Bytes()}, nil)
	}
	p.buf.Reset()
}

// add yields a piece of n bytes that is no literal, then pads it to whole blocks.
func (p *pieces) add(piece Piece, n int64) error {
	if n == 0 {
		return nil
	}
	p.flush()
	p.going = p.going && p.yield(piece, nil)
	p.total += n
	return p.zeros(padded(n) - n)
}

func (p *pieces) zeros(n int64) error {
	for n > 0 {
		k := min(n, literalSize)
		if _, err := p.Write(zeros[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

var zeros [literalSize]byte

func (a *Archive) pieces(p *pieces) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := a.checkItems(); err != nil {
		return err
	}
	manifest, err := a.manifestSize()
	if err != nil {
		return err
	}
	if err := writeHeader(p, a.manifest(manifest)); err != nil {
		return err
	}
	if err := a.writeManifest(p); err != nil {
		return err
	}
	if err := p.zeros(padded(manifest) - manifest); err != nil {
		return err
	}
	for e := range a.onTape() {
		if err := e.Check(); err != nil {
			return err
		}
		if err := writeHeader(p, e); err != nil {
			return err
		}
		if err := p.add(Piece{Data: e}, e.Size); err != nil {
			return err
		}
	}
	sums := a.SumsSize()
	if err := writeHeader(p, a.sums(sums)); err != nil {
		return err
	}
	if err := p.add(Piece{Sums: sums}, sums); err != nil {
		return err
	}
	if err := p.zeros(trailer); err != nil {
		return err
	}
	if err := p.zeros(records(p.total, a.RecordSize)*int64(a.RecordSize) - p.total); err != nil {
		return err
	}
	p.flush()
	return nil
}

// onTape yields the entries that lie on the tape, in order.
func (a *Archive) onTape() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for i := range a.Items {
			for j := range a.Items[i].Entries {
				if e := &a.Items[i].Entries[j]; e.Type.OnTape() && !yield(e) {
					return
				}
			}
		}
	}
}

func (a *Archive) manifest(size int64) *Entry {
	return own(a.Session, manifestName(a.Number), size, time.Unix(0, 0))
}

func (a *Archive) sums(size int64) *Entry {
	return own(a.Session, strconv.Itoa(a.Number)+".MD5SUMS", size, time.Unix(0, 0))
}

// check looks at the archive's numbers, not at its items.
func (a *Archive) check() error {
	if err := checkUUIDs(a.Pair, a.Session, a.Job); err != nil {
		return err
	}
	if err := checkRecordSize(a.RecordSize); err != nil {
		return err
	}
	if a.Number < 1 || a.TapeFile < 1 || a.Record < 1 {
		return fmt.Errorf("%w: archive %d in tape file %d at record %d: the label has tape file and record 0, archives count from 1",
			ErrFormat, a.Number, a.TapeFile, a.Record)
	}
	return nil
}

// checkItems tells whether every item's members lie in it.
func (a *Archive) checkItems() error {
	for i := range a.Items {
		if err := a.Items[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// check tells whether the item's members, and the first names of its hard links, lie in it.
func (it *Item) check() error {
	for i := range it.Entries {
		e := &it.Entries[i]
		if e.Host != it.Host || !within(it.Path, e.Path) {
			return e.refuse("it is not in its item %s:%s", it.Host, printable(clip(it.Path)))
		}
		if e.Type == Hardlink && !within(it.Path, e.Link) {
			return e.refuse("its first name %s is not in its item %s:%s", printable(clip(e.Link)), it.Host, printable(clip(it.Path)))
		}
	}
	return nil
}

func checkUUIDs(all ...string) error {
	for _, s := range all {
		if u, err := uuid.Parse(s); err != nil || u.String() != s {
			return fmt.Errorf("%w: %q is not a UUID in lower case", ErrFormat, clip(s))
		}
	}
	return nil
}
