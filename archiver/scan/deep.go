package scan

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"twintape/internal/catalog"
	"twintape/internal/event"
)

// deep reads the archives of a gap. Those that are whole, end in a filemark and give back what their MD5SUMS says count.
func (s *scan) deep(ctx context.Context, g gap) (err error) {
	d := &deepScan{scan: s, number: g.session, begins: g.from}
	defer func() { err = errors.Join(err, d.end(err == nil)) }()
	for block := g.from; block < g.to; g.tapeFile++ {
		next, err := d.tapeFile(ctx, block, g.tapeFile)
		if err != nil {
			return s.over(err)
		}
		block = next
	}
	return nil
}

// deepScan is the reading of one gap.
type deepScan struct {
	*scan
	number int   // of the session that the next archive belongs to
	begins int64 // block at which that begins

	now   *session // the session that archives are added to; nil behind its catalog
	lines *catalog.Writer
	jsonl *bufio.Writer
}

// tapeFile reads one tape file, and returns where the next one begins.
func (d *deepScan) tapeFile(ctx context.Context, block int64, number int) (int64, error) {
	in, err := d.open(ctx, block)
	if err != nil {
		return 0, err
	}
	in.skip, in.keep = true, true
	switch err := in.fill(); {
	case in.failed != nil:
		return 0, in.failed
	case errors.Is(err, errEnds):
		return 0, err
	}
	kind := catalog.TapeFileKind(in.rest)
	if kind == catalog.ArchiveFile {
		a, records, damaged, err := catalog.ReadArchive(in)
		switch {
		case in.failed != nil:
			return 0, in.failed
		case errors.Is(err, errEnds):
			d.note("the archive at record %d is cut off, and does not count", block)
			return 0, err
		case err != nil:
			d.note("the archive at record %d does not count: %v", block, err)
		case !d.belongs(a, block) || a.TapeFile != number:
			return 0, errEnds
		default:
			d.events.Emit(event.Note{Text: fmt.Sprintf("%s: archive %d of session %s read", d.r.Barcode, a.Number, a.Session)})
			return in.next, d.add(a, records, damaged, in)
		}
	}
	if !in.mark {
		err = in.toMark()
	}
	if err == nil && kind == catalog.CatalogFile {
		d.number, d.begins = d.number+1, in.next
		err = d.end(true)
	}
	return in.next, err
}

// add adds an archive to its session.
func (d *deepScan) add(a *catalog.Archive, records int64, damaged map[int]string, in *tapeFile) error {
	if d.now != nil && d.now.head.Session != a.Session { // the catalog between cannot be read at all
		d.number, d.begins = d.number+1, a.Record
		if err := d.end(true); err != nil {
			return err
		}
	}
	if d.now == nil {
		if err := d.begin(a); err != nil {
			return err
		}
	}
	if err := d.lines.Archive(a, records); err != nil {
		d.note("archive %d does not count: %v", a.Number, err)
		return nil
	}
	if len(damaged) > 0 {
		d.now.damaged[a.Number] = damaged
	}
	d.now.end = in.next
	_, err := d.now.crcs.Write(in.crcs)
	return err
}

// begin begins another session.
func (d *deepScan) begin(a *catalog.Archive) (err error) {
	d.now = &session{damaged: make(map[int]map[int]string), head: catalog.Session{
		Pair: a.Pair, Session: a.Session, Job: a.Job, Number: d.number, RecordSize: a.RecordSize, Record: d.begins,
	}}
	if d.now.jsonl, err = d.file(); err != nil {
		return err
	}
	if d.now.crcs, err = d.file(); err != nil {
		return err
	}
	d.jsonl = bufio.NewWriterSize(d.now.jsonl, 64<<10)
	d.lines = catalog.NewWriter(d.jsonl, d.now.head)
	return nil
}

// end ends the session that was begun, which is kept or not.
func (d *deepScan) end(keep bool) error {
	f := d.now
	if f == nil {
		return nil
	}
	d.now = nil
	_, _, err := d.lines.Close()
	err = errors.Join(err, d.jsonl.Flush())
	if !keep || err != nil || f.end == 0 {
		f.close()
		return err
	}
	d.sessions = append(d.sessions, f)
	return nil
}
