package catalog

import (
	"fmt"
	"io"
)

// Reader reads a session's catalog, one archive at a time: memory holds one archive's members. It is used by one
// goroutine.
type Reader struct {
	lines   *lineReader
	session Session
	last    span
	seen    endLine
	err     error // of the last Next; it stays
}

// NewReader reads the head of a catalog.
func NewReader(jsonl io.Reader) (*Reader, error) {
	r := &Reader{lines: newLineReader(jsonl), seen: endLine{kind: kind{"end"}}}
	var line sessionLine
	if err := r.lines.decodeHead("session", &line); err != nil {
		return nil, err
	}
	r.session = Session{
		Pair: line.Pair, Session: line.Session, Job: line.Job, Number: line.Number, RecordSize: line.RecordSize,
		Closed: line.Closed.UTC(), Record: line.Record,
	}
	for range line.Earlier {
		var e earlierLine
		if err := r.lines.decode("earlier", &e); err != nil {
			return nil, err
		}
		r.session.Earlier = append(r.session.Earlier, Earlier{Session: e.Session, TapeFile: e.TapeFile, Record: e.Record, MD5: e.MD5})
	}
	if line.Earlier != len(r.session.Earlier) {
		return nil, fmt.Errorf("%w: %d earlier sessions", ErrFormat, line.Earlier)
	}
	if err := r.session.check(); err != nil {
		return nil, err
	}
	r.last = r.session.before()
	return r, nil
}

// Session returns the head of the catalog.
func (r *Reader) Session() Session { return r.session }

// Next returns the next archive and how many tape records it takes; io.EOF after the last one, when the catalog's own
// counts were found right.
func (r *Reader) Next() (*Archive, int64, error) {
	if r.err != nil {
		return nil, 0, r.err
	}
	a, records, err := r.next()
	if err != nil {
		r.err = err
		return nil, 0, err
	}
	return a, records, nil
}

func (r *Reader) next() (*Archive, int64, error) {
	if err := r.lines.read(); err == io.EOF {
		return nil, 0, fmt.Errorf("%w: ends after line %d without a line %q", ErrFormat, r.lines.n, "end")
	} else if err != nil {
		return nil, 0, err
	}
	if r.lines.kind() == "end" {
		return nil, 0, r.end()
	}
	var line archiveLine
	if err := r.lines.parse("archive", &line); err != nil {
		return nil, 0, err
	}
	s := &r.session
	a := &Archive{
		Pair: s.Pair, Session: s.Session, Job: s.Job, Number: line.Number, TapeFile: line.TapeFile, Record: line.Record,
		RecordSize: s.RecordSize,
	}
	for range line.Items {
		it, err := r.item(a.Number)
		if err != nil {
			return nil, 0, err
		}
		a.Items = append(a.Items, it)
	}
	if line.Items != len(a.Items) {
		return nil, 0, r.lines.bad("%d items", line.Items)
	}
	if err := s.checkArchive(a, line.Records, &r.last); err != nil {
		return nil, 0, err
	}
	r.seen.Archives++
	return a, line.Records, nil
}

func (r *Reader) item(archive int) (Item, error) {
	var line itemLine
	if err := r.lines.decode("item", &line); err != nil {
		return Item{}, err
	}
	it, err := line.item()
	if err != nil {
		return Item{}, r.lines.bad("%v", err)
	}
	for range line.Members {
		var m memberLine
		if err := r.lines.decode("member", &m); err != nil {
			return Item{}, err
		}
		e, err := m.entry(it.Host, archive)
		if err != nil {
			return Item{}, r.lines.bad("%v", err)
		}
		it.Entries = append(it.Entries, e)
	}
	r.seen.Items++
	r.seen.Members += int64(len(it.Entries))
	return it, nil
}

// item makes an item without members of its line.
func (l *itemLine) item() (Item, error) {
	it := Item{ID: l.ID, Host: l.Host, Bad: l.Bad}
	var err error
	if it.Path, err = join(l.Path, l.PathB64); err != nil {
		return Item{}, err
	}
	if l.Members < 0 {
		return Item{}, fmt.Errorf("%d members", l.Members)
	}
	if err := checkHost(it.Host); err != nil {
		return Item{}, err
	}
	return it, checkPath(it.Host, it.Path)
}

func (r *Reader) end() error {
	var line endLine
	if err := r.lines.parse("end", &line); err != nil {
		return err
	}
	if line != r.seen {
		return r.lines.bad("counts %d archives, %d items, %d members, but %d, %d, %d were there",
			line.Archives, line.Items, line.Members, r.seen.Archives, r.seen.Items, r.seen.Members)
	}
	if err := r.lines.end(); err != nil {
		return err
	}
	return io.EOF
}
