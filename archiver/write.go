package archiver

import (
	"context"
	"io"
	"path"
	"slices"

	"twintape/archiver/stream"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// write streams all planned archives to both tapes.
func (j *job) write(ctx context.Context, records int64) error {
	archives, err := j.Ledger.Archives(ctx, j.session.ID)
	if err != nil {
		return err
	}
	archives = slices.DeleteFunc(archives, func(p ledger.PlannedArchive) bool { return p.Flushed })
	var lost error // why a lost side could not be recorded
	cfg := stream.Config{
		RecordSize: j.record, Memory: j.Memory, FlushBytes: j.FlushBytes, Total: records * int64(j.record),
		Namespace: j.Namespace, Events: j.Events, Unchanged: Unchanged, Stop: j.stop,
		Next: func(ctx context.Context) (stream.Archive, error) {
			if len(archives) == 0 {
				return stream.Archive{}, io.EOF
			}
			next := archives[0]
			archives = archives[1:]
			return j.loadArchive(ctx, next)
		},
		Single: j.Single,
		Lost: func(e *stream.SideError) {
			lost = j.lose(ctx, e.Side, j.blame(ctx, e))
		},
		Flushed: func(ctx context.Context, archives []stream.Written, positions [2]int64) error {
			if lost != nil {
				return lost
			}
			return j.flushed(ctx, archives, positions)
		},
	}
	var pair stream.Pair
	for side, l := range j.tapes {
		if l == nil {
			continue
		}
		pair[side] = stream.Side{Barcode: l.Barcode, Drive: l.Drive, Backhitch: l.Medium.Backhitch}
	}
	return stream.Run(ctx, cfg, pair)
}

func (j *job) loadArchive(ctx context.Context, p ledger.PlannedArchive) (stream.Archive, error) {
	a, err := j.Ledger.LoadArchive(ctx, p.ID)
	if err != nil {
		return stream.Archive{}, err
	}
	out := stream.Archive{Archive: a, ID: p.ID, Expected: make(map[string]catalog.MD5)}
	for _, it := range a.Items {
		expected, err := j.Ledger.Expected(ctx, it.ID)
		if err != nil {
			return stream.Archive{}, err
		}
		for below, sum := range expected {
			out.Expected[it.Host+":"+path.Join(it.Path, below)] = sum
		}
	}
	return out, nil
}

// flushed records what the tapes hold now.
func (j *job) flushed(ctx context.Context, archives []stream.Written, positions [2]int64) error {
	flush := ledger.Flush{Session: j.session.ID, Positions: positions}
	for _, w := range archives {
		flush.Archives = append(flush.Archives, ledger.FlushedArchive{ID: w.ID, Result: w.Archive.Archive, CRCs: w.CRCs})
	}
	if err := j.Ledger.RecordFlush(ctx, flush); err != nil {
		return err
	}
	if j.tallies == nil {
		j.tallies = make(map[int64]tally)
	}
	for _, w := range archives {
		var n tally
		for _, it := range w.Items {
			if it.Bad != "" {
				j.fail(FailedItem{ID: it.ID, Host: it.Host, Path: it.Path, Reason: it.Bad})
				continue
			}
			if positions[0] == 0 || positions[1] == 0 {
				n.single++
			} else {
				n.both++
			}
			for i := range it.Entries {
				n.bytes += it.Entries[i].Size
			}
		}
		j.tallies[w.ID] = n
		j.report.Archived += n.both
		j.report.Single += n.single
		j.report.Bytes += n.bytes
	}
	return nil
}

// tally is what an archive adds to the job's report.
type tally struct {
	both, single int // items
	bytes        int64
}

// takeBack takes an archive that is given up out of the report, if this process wrote it.
func (j *job) takeBack(archive int64) {
	n := j.tallies[archive]
	j.report.Archived -= n.both
	j.report.Single -= n.single
	j.report.Bytes -= n.bytes
}

// flushedArchives are those of the job's session.
func (j *job) flushedArchives(ctx context.Context) ([]ledger.PlannedArchive, error) {
	archives, err := j.Ledger.Archives(ctx, j.session.ID)
	return flushed(archives), err
}
