package catalog

import (
	"fmt"
	"io"
)

// writeManifest writes what follows in the archive: a line of numbers, then a line an item and a line a member on tape.
func (a *Archive) writeManifest(w io.Writer) error {
	out := newLines(w)
	head := manifestLine{
		kind: kind{"manifest"}, Version: Version, Pair: a.Pair, Session: a.Session, Job: a.Job, Number: a.Number,
		TapeFile: a.TapeFile, Record: a.Record, RecordSize: a.RecordSize, Items: len(a.Items),
	}
	for range a.onTape() {
		head.Members++
	}
	if err := out.Encode(&head); err != nil {
		return err
	}
	for i := range a.Items {
		if err := a.Items[i].writeManifest(w); err != nil {
			return err
		}
	}
	return nil
}

// writeManifest writes the item's lines of the manifest.
func (it *Item) writeManifest(w io.Writer) error {
	out := newLines(w)
	line := itemLine{kind: kind{"item"}, ID: it.ID, Host: it.Host}
	line.Path, line.PathB64 = split(it.Path)
	for i := range it.Entries {
		if it.Entries[i].Type.OnTape() {
			line.Members++
		}
	}
	if err := out.Encode(&line); err != nil {
		return err
	}
	for i := range it.Entries {
		e := &it.Entries[i]
		if !e.Type.OnTape() {
			continue
		}
		m := fileLine{kind: kind{"member"}, Type: e.Type, Size: e.Size}
		m.Path, m.PathB64 = split(e.Path)
		if err := out.Encode(&m); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) manifestSize() (int64, error) {
	var n counter
	err := a.writeManifest(&n)
	return int64(n), err
}

// ReadManifest reads an archive's manifest. Of the members it tells Host, Path, Type and Size; the rest stands in their
// tar headers. Memory grows with the manifest's length.
func ReadManifest(r io.Reader) (*Archive, error) {
	l := newLineReader(r)
	var head manifestLine
	if err := l.decodeHead("manifest", &head); err != nil {
		return nil, err
	}
	a := &Archive{
		Pair: head.Pair, Session: head.Session, Job: head.Job, Number: head.Number, TapeFile: head.TapeFile,
		Record: head.Record, RecordSize: head.RecordSize,
	}
	members := 0
	for range head.Items {
		var line itemLine
		if err := l.decode("item", &line); err != nil {
			return nil, err
		}
		it, err := line.item()
		if err != nil {
			return nil, l.bad("%v", err)
		}
		for range line.Members {
			var m fileLine
			if err := l.decode("member", &m); err != nil {
				return nil, err
			}
			e := Entry{Host: it.Host, Type: m.Type, Size: m.Size}
			if e.Path, err = join(m.Path, m.PathB64); err == nil {
				err = checkPath(e.Host, e.Path)
			}
			if err != nil || !within(it.Path, e.Path) || !m.Type.OnTape() || m.Size < 0 || m.Size > maxSize {
				return nil, l.bad("path, type or size of a member")
			}
			it.Entries = append(it.Entries, e)
			members++
		}
		a.Items = append(a.Items, it)
	}
	if err := l.end(); err != nil {
		return nil, err
	}
	if members != head.Members || head.Items != len(a.Items) {
		return nil, fmt.Errorf("%w: manifest has %d items, %d members, its first line says %d, %d", ErrFormat, len(a.Items), members, head.Items, head.Members)
	}
	return a, a.check()
}
