// Package restore brings back what was archived. It promises that a file appears under its name only when every byte of it
// came from a tape and has the MD5 that was archived; that nothing is written outside the folder it is told, through a
// symlink, or over anything that is there; and that what one tape does not give back is looked for on its twin.
//
// Each tape is visited once, its members in the order in which a drive comes by them; where two tapes, or both twins, are at
// hand, two drives read at once. A run that ended early is begun again: what is there already is not read from tape.
//
// A Recaller brings single files back into a folder of its own, for those who wait for them.
package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// Options say what is restored, and where.
type Options struct {
	Patterns  []string // host:/path, globs with **; what lies below a match is restored too
	To        string   // the folder; members become To/host/absolute/path
	Tape      string   // barcode of the only tape that is read; any if empty
	Overwrite bool     // what is there and differs is replaced
}

// Report is what a run did.
type Report struct {
	Files, Folders, Links int64 // restored
	Bytes                 int64 // of the files
	Already               int64 // files and links that were there already, with the right MD5
	Failed                []Failed
	Lacking               []Failed // restored, but not with all attributes
	Suspect               []string // tapes that did not give back what was written
	Absent                []string // tapes that are needed and not in the library
}

// Failed is an item or a member that was not restored, and why.
type Failed struct{ Host, Path, Reason string }

// ErrNothing says that nothing on tape matches.
var ErrNothing = errors.New("nothing on tape matches: `twintape find PATTERN` and `twintape ls tapes/all` tell what there is")

// wanted is an item that is to be restored, in whole or in part.
type wanted struct {
	item  ledger.Item
	whole bool
	tried map[string]string // by barcode, why it was not enough
	done  bool              // what is wanted of it is there, or cannot be restored from any tape
}

// at is where the item lies on a tape; false if it does not, or was looked for there.
func (w *wanted) at(barcode string) (ledger.Copy, bool) {
	if _, tried := w.tried[barcode]; tried {
		return ledger.Copy{}, false
	}
	i := slices.IndexFunc(w.item.Copies, func(c ledger.Copy) bool { return c.Barcode == barcode })
	if i < 0 {
		return ledger.Copy{}, false
	}
	return w.item.Copies[i], true
}

// run is one restore.
type run struct {
	*archiver.Archiver
	Options
	patterns []pattern
	temps    atomic.Int64
	moving   sync.Mutex // held while cartridges are moved: there is one changer

	mu       sync.Mutex
	report   *Report
	requeued map[int64]bool // items that wait again, and were told
	targets  []*target
	progress event.Progress
}

// Restore brings members back. The report is never nil. The error is for what kept the run from going on, such as a full
// disk, or a library that is not there; what could not be restored is in the report.
func Restore(ctx context.Context, a *archiver.Archiver, o Options) (*Report, error) {
	r := &run{Archiver: a, Options: o, report: &Report{}, requeued: make(map[int64]bool)}
	r.progress = event.Progress{Step: "restoring", Began: time.Now()}
	items, err := r.choose(ctx)
	if err != nil {
		return r.report, err
	}
	err = r.visit(ctx, items)
	for _, failed := range [][]Failed{r.report.Failed, r.report.Lacking} {
		slices.SortFunc(failed, func(a, b Failed) int { return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Path, b.Path)) })
	}
	for _, t := range r.targets {
		err = errors.Join(err, t.finish(), t.close())
	}
	return r.report, err
}

// visit goes from tape to tape until nothing is left that another tape may give.
func (r *run) visit(ctx context.Context, items []*wanted) error {
	for len(items) > 0 {
		elements, err := tape.LimitedChanger(r.Library.Changer()).Inventory(ctx)
		if err != nil {
			return err
		}
		inside := make(map[string]bool)
		for _, e := range elements {
			inside[e.Barcode] = e.Barcode != "" && e.Kind != tape.ImportExport
		}
		visits := r.assign(items, inside)
		if len(visits) == 0 {
			r.giveUp(items, inside)
			return nil
		}
		if err := r.round(ctx, visits); err != nil {
			return err
		}
		// What was restored is not wanted any more; what failed may be on another tape.
		items = slices.DeleteFunc(items, func(w *wanted) bool { return w.done })
	}
	return nil
}

// visitTo is one tape with the items that are to be read from it.
type visitTo struct {
	barcode string
	items   []*wanted
}

// assign chooses tapes, one a drive, those first that have most of what is wanted. A drive that is left over reads half of
// what a tape would on its twin.
func (r *run) assign(items []*wanted, inside map[string]bool) (visits []visitTo) {
	left := slices.Clone(items)
	for len(visits) < r.Library.Drives() {
		on := make(map[string]int)
		for _, w := range left {
			for _, c := range w.item.Copies {
				if _, ok := w.at(c.Barcode); ok && inside[c.Barcode] && (r.Tape == "" || r.Tape == c.Barcode) {
					on[c.Barcode]++
					if c.Bad == "" {
						on[c.Barcode] += 1 << 20 // rather than one that is in doubt
					}
				}
			}
		}
		for _, v := range visits {
			delete(on, v.barcode)
		}
		if len(on) == 0 {
			break
		}
		best := ""
		for barcode := range on {
			if best == "" || on[barcode] > on[best] || on[barcode] == on[best] && barcode < best {
				best = barcode
			}
		}
		v := visitTo{barcode: best}
		left = slices.DeleteFunc(left, func(w *wanted) bool {
			_, ok := w.at(best)
			if ok {
				v.items = append(v.items, w)
			}
			return ok
		})
		visits = append(visits, v)
	}
	for i := range visits {
		visits[i].sort()
	}
	if len(visits) == 1 && r.Library.Drives() > 1 && r.Tape == "" {
		visits = split2(visits[0], inside)
	}
	return visits
}

func (v *visitTo) sort() {
	slices.SortFunc(v.items, func(a, b *wanted) int {
		x, _ := a.at(v.barcode)
		y, _ := b.at(v.barcode)
		return cmp.Compare(x.Record, y.Record)
	})
}

// inOrder puts the items into the order in which a drive comes by them in the least time, where its kind of medium is known.
func (v *visitTo) inOrder(m tape.Medium, recordSize int64) {
	s, ok := tape.SerpentineOf(m.Type)
	if !ok {
		return
	}
	var all []extent
	for _, w := range v.items {
		c, _ := w.at(v.barcode)
		from := c.Record * recordSize
		all = append(all, extent{from, from + w.item.Bytes})
	}
	items := slices.Clone(v.items)
	for n, i := range bestOrder(s, all) {
		v.items[n] = items[i]
	}
}

// split2 gives the half of a tape's items that lies further behind to the twin, as far as that has good copies of them.
func split2(v visitTo, inside map[string]bool) []visitTo {
	half := visitTo{}
	for _, c := range v.items[len(v.items)-1].item.Copies {
		if c.Barcode != v.barcode && inside[c.Barcode] && c.Bad == "" {
			half.barcode = c.Barcode
		}
	}
	for len(v.items) > len(half.items)+1 && half.barcode != "" {
		last := v.items[len(v.items)-1]
		if c, ok := last.at(half.barcode); !ok || c.Bad != "" {
			break
		}
		v.items, half.items = v.items[:len(v.items)-1], append(half.items, last)
	}
	if len(half.items) == 0 {
		return []visitTo{v}
	}
	half.sort()
	return []visitTo{v, half}
}

// giveUp reports what no tape at hand gives.
func (r *run) giveUp(items []*wanted, inside map[string]bool) {
	absent := make(map[string]bool)
	for _, w := range items {
		var why []string
		for _, c := range w.item.Copies {
			switch reason, tried := w.tried[c.Barcode]; {
			case tried:
				why = append(why, reason)
			case r.Tape != "" && r.Tape != c.Barcode:
			case !inside[c.Barcode]:
				why = append(why, "tape "+c.Barcode+" is not in the library")
				absent[c.Barcode] = true
			}
		}
		if len(why) == 0 {
			why = []string{"it is not on tape " + r.Tape}
		}
		r.fail(w.item.Host, w.item.Path, strings.Join(why, "; "))
	}
	for barcode := range absent {
		r.report.Absent = append(r.report.Absent, barcode)
	}
	slices.Sort(r.report.Absent)
}

func (r *run) fail(host, path, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Failed = append(r.report.Failed, Failed{host, path, reason})
}

func (r *run) count(f func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.report)
}

func (r *run) lack(e *catalog.Entry, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Lacking = append(r.report.Lacking, Failed{e.Host, e.Path, what})
}

// round visits some tapes, each in a drive of its own at the same time.
func (r *run) round(ctx context.Context, visits []visitTo) error {
	var barcodes []string
	for i, v := range visits {
		barcodes = append(barcodes, v.barcode)
		if i < len(r.progress.Sides) {
			r.progress.Sides[i] = event.Side{Barcode: v.barcode}
		}
	}
	drives, err := r.PickDrives(ctx, barcodes)
	if err != nil {
		return err
	}
	errs := make([]error, len(visits))
	var all sync.WaitGroup
	for i := range visits {
		all.Go(func() { errs[i] = r.tape(ctx, &visits[i], i, drives[i]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// tape loads a tape, reads what is wanted of it, and puts it away. Its own trouble and its drive's are noted at the items;
// the error is what ends the run.
func (r *run) tape(ctx context.Context, v *visitTo, side, drive int) (err error) {
	all := func(why error) {
		for _, w := range v.items {
			if !w.done && w.tried[v.barcode] == "" {
				w.tried[v.barcode] = why.Error()
			}
		}
		r.Events.Emit(event.Note{Text: why.Error()})
	}
	r.moving.Lock()
	loaded, err := archiver.Load(ctx, r.Library, []string{v.barcode}, []int{drive})
	r.moving.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			all(fmt.Errorf("loading tape %s: %w", v.barcode, err))
			return nil
		}
		return err
	}
	l := loaded[0]
	defer func() {
		r.moving.Lock()
		defer r.moving.Unlock()
		err = errors.Join(err, r.PutBack(context.WithoutCancel(ctx), l, 0))
	}()
	from, err := identify(ctx, r.Ledger, l)
	if err != nil {
		all(err)
		return ctx.Err()
	}
	v.inOrder(l.Medium, from.size)
	rd := &reading{run: r, head: from, side: side}
	for _, t := range []**target{&rd.target, &rd.linker} {
		if *t, err = openTarget(r.To, r.Overwrite, &r.temps, r.lack); err != nil {
			return fmt.Errorf("restore to %s: %w", r.To, err)
		}
		r.mu.Lock()
		r.targets = append(r.targets, *t)
		r.mu.Unlock()
	}
	tapeErr, err := rd.visit(ctx, v.items)
	if bad := rd.bad(); len(bad) > 0 {
		err = errors.Join(err, r.suspect(context.WithoutCancel(ctx), l, bad))
	}
	if tapeErr != nil && ctx.Err() == nil {
		all(fmt.Errorf("reading tape %s on %s: %w", v.barcode, l.Drive.Name(), tapeErr))
	}
	return errors.Join(err, ctx.Err())
}

// suspect records that a tape did not give back what was written.
func (r *run) suspect(ctx context.Context, l *archiver.Loaded, bad []ledger.CheckedCopy) error {
	r.mu.Lock()
	r.report.Suspect = append(r.report.Suspect, l.Barcode)
	r.mu.Unlock()
	requeued, err := doubt(ctx, r.Ledger, l, "restoring", bad)
	for _, it := range requeued {
		r.mu.Lock()
		told := r.requeued[it.ID]
		r.requeued[it.ID] = true
		r.mu.Unlock()
		if !told {
			r.Events.Emit(event.Note{Text: fmt.Sprintf("%s:%s waits to be archived again: %s", it.Host, it.Path, it.Error)})
		}
	}
	return err
}

// advance tells how much more a drive has read.
func (r *run) advance(side int, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if side < len(r.progress.Sides) {
		r.progress.Sides[side].Bytes += n
	}
	r.Events.Emit(r.progress)
}
