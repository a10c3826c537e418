// Package ledgertest is the conformance suite of the ledger: what every database under it must do.
package ledgertest

import (
	"context"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// Fresh makes an empty ledger, gone after the test, and returns how to open it: each call a connection of its own.
type Fresh func(t *testing.T) (open func(ledger.Options) *ledger.Ledger)

// Run runs the suite.
func Run(t *testing.T, fresh Fresh) {
	for _, s := range []struct {
		name string
		test func(*testing.T, Fresh)
	}{
		{"Tapes", testTapes},
		{"QueueOutcomes", testQueueOutcomes},
		{"QueueMany", testQueueMany},
		{"Dequeue", testDequeue},
		{"Bridge", testBridge},
		{"Filter", testFilter},
		{"HostilePaths", testHostilePaths},
		{"Jobs", testJobs},
		{"ClaimPair", testClaimPair},
		{"Session", testSession},
		{"PlanRoundTrip", testPlanRoundTrip},
		{"PlanRefused", testPlanRefused},
		{"PlanMany", testPlanMany},
		{"Flush", testFlush},
		{"FlushRefused", testFlushRefused},
		{"Drop", testDrop},
		{"Verification", testVerification},
		{"DeletableAfterSample", testDeletableAfterSample},
		{"Find", testFind},
		{"FindModel", testFindModel},
		{"Contents", testContents},
		{"Browse", testBrowse},
		{"BrowseMany", testBrowseMany},
		{"WriteCatalog", testWriteCatalog},
		{"Steps", testSteps},
		{"OpenPairs", testOpenPairs},
		{"LostSide", testLostSide},
		{"Faults", testFaults},
		{"Damaged", testDamaged},
		{"GiveUp", testGiveUp},
		{"Rebuild", testRebuild},
		{"RebuildUneven", testRebuildUneven},
		{"RebuildRefused", testRebuildRefused},
		{"RebuildMerged", testRebuildMerged},
		{"Health", testHealth},
		{"Overwrite", testOverwrite},
		{"Twins", testTwins},
		{"TwinsDiverged", testTwinsDiverged},
		{"Retire", testRetire},
		{"Recycle", testRecycle},
		{"Due", testDue},
		{"Machine", testMachine},
		{"Race", testRace},
		{"Cancelled", testCancelled},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, fresh) })
	}
}

// RecordSize is that of the archives that Archive makes.
const RecordSize = 512 << 10

// Archive makes an archive of items, each of which has a directory and the given number of files in it.
func Archive(job ledger.Job, s ledger.Session, number int, items []ledger.Item, files int) *catalog.Archive {
	a := &catalog.Archive{
		Pair: s.Pair, Session: s.UUID, Job: job.UUID, Number: number, TapeFile: number,
		Record: int64(number) * 1000, RecordSize: RecordSize,
	}
	record := a.Record + 1
	mtime := time.Date(2013, 12, 1, 2, 3, 4, 567890123, time.UTC)
	for _, it := range items {
		out := catalog.Item{ID: it.ID, Host: it.Host, Path: it.Path}
		dir := catalog.Entry{
			Host: it.Host, Path: it.Path, Type: catalog.Dir, Mode: 0o755, MTime: mtime, UID: 1000, GID: 100, User: "obs", Group: "users",
			Place: catalog.Place{Archive: number, Record: record, Header: 512},
		}
		out.Entries = append(out.Entries, dir)
		for i := range files {
			file := dir
			file.Path = path.Join(it.Path, fmt.Sprintf("visdata%06d", i))
			file.Type, file.Mode, file.Size, file.CTime = catalog.File, 0o644, 1000, mtime.Add(time.Second)
			file.Offset = 1024 * (i % 500)
			out.Entries = append(out.Entries, file)
		}
		record++
		a.Items = append(a.Items, out)
	}
	return a
}

// Written returns the archive as the stream gives it back: every good file has its MD5.
func Written(a *catalog.Archive) *catalog.Archive {
	out := *a
	out.Items = nil
	for i, it := range a.Items {
		it.Entries = append([]catalog.Entry(nil), it.Entries...)
		for k := range it.Entries {
			if e := &it.Entries[k]; e.Type == catalog.File && e.Bad == "" {
				e.MD5 = catalog.MD5{1, byte(i), byte(k), byte(k >> 8)}
			}
		}
		out.Items = append(out.Items, it)
	}
	return &out
}

// bench is an open ledger with what a test needs of it.
type bench struct {
	testing.TB
	*ledger.Ledger
	ctx   context.Context
	tapes int
}

func newBench(t *testing.T, fresh Fresh) *bench {
	return &bench{TB: t, Ledger: fresh(t)(ledger.Options{}), ctx: t.Context()}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// queue adds items by path and returns them as the ledger has them.
func (b *bench) queue(paths ...string) []ledger.Item {
	b.Helper()
	var items []ledger.NewItem
	for _, p := range paths {
		items = append(items, ledger.NewItem{Host: "h", Path: p, Fingerprint: catalog.MD5{1}})
	}
	out, err := b.Enqueue(b.ctx, items, false)
	b.must(err)
	var added []ledger.Item
	for i, e := range out {
		if e.Outcome != ledger.Added {
			b.Fatalf("%s: outcome %s, want added", paths[i], e.Outcome)
		}
		added = append(added, b.item(e.ID))
	}
	return added
}

func (b *bench) item(id int64) ledger.Item {
	b.Helper()
	for it, err := range b.Items(b.ctx, ledger.Filter{IDs: []int64{id}}) {
		b.must(err)
		return it
	}
	b.Fatalf("item %d is gone", id)
	return ledger.Item{}
}

func (b *bench) items(f ledger.Filter) (out []ledger.Item) {
	b.Helper()
	for it, err := range b.Items(b.ctx, f) {
		b.must(err)
		out = append(out, it)
	}
	return out
}

func (b *bench) states(want ledger.ItemState, items ...ledger.Item) {
	b.Helper()
	for _, it := range items {
		if got := b.item(it.ID).State; got != want {
			b.Errorf("item %s is %s, want %s", it.Path, got, want)
		}
	}
}

// job begins a job.
func (b *bench) job() ledger.Job {
	b.Helper()
	j, err := b.BeginJob(b.ctx, ledger.Owner{Machine: "m", Boot: "b", PID: 7, Start: 99}, 0.25)
	b.must(err)
	return j
}

// run is a job that writes a session.
type run struct {
	job      ledger.Job
	session  ledger.Session
	barcodes [2]string
	archives int
}

// run begins a job with a session on two new tapes.
func (b *bench) run() *run {
	b.Helper()
	r := &run{job: b.job()}
	for side := range r.barcodes {
		b.tapes++
		r.barcodes[side] = fmt.Sprintf("TAPE%03d", b.tapes)
		_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: r.barcodes[side]})
		b.must(err)
	}
	b.must(b.ClaimPair(b.ctx, r.job.ID, r.barcodes))
	var err error
	r.session, err = b.StartSession(b.ctx, r.job.ID, newSession())
	b.must(err)
	return r
}

func newSession() ledger.StartSession {
	return ledger.StartSession{
		PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), TapeUUIDs: [2]string{uuid.NewString(), uuid.NewString()},
		RecordSize: RecordSize, Number: 1, Record: 2,
	}
}

// plan plans the next archive, of two files an item.
func (b *bench) plan(r *run, items ...ledger.Item) (int64, *catalog.Archive) {
	b.Helper()
	r.archives++
	a := Archive(r.job, r.session, r.archives, items, 2)
	id, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, a, 50, nil)
	b.must(err)
	return id, a
}

func (b *bench) flush(r *run, id int64, a *catalog.Archive) {
	b.Helper()
	b.must(b.RecordFlush(b.ctx, flushOf(r, ledger.FlushedArchive{ID: id, Result: Written(a), CRCs: []byte{1, 2, 3, 4}})))
}

func flushOf(r *run, archives ...ledger.FlushedArchive) ledger.Flush {
	end := int64(2)
	for _, a := range archives {
		end = a.Result.Record + 51
	}
	return ledger.Flush{Session: r.session.ID, Positions: [2]int64{end, end}, Archives: archives}
}

// written brings items onto a new pair.
func (b *bench) written(items ...ledger.Item) *run {
	b.Helper()
	r := b.run()
	id, a := b.plan(r, items...)
	b.flush(r, id, a)
	return r
}

// verified records a verification of one side that listed all items as read or not read in full.
func (b *bench) verified(r *run, side int, sample float64, full bool, items ...ledger.Item) {
	b.Helper()
	_, err := b.RecordVerification(b.ctx, verification(r, side, sample, full, items...))
	b.must(err)
}

func verification(r *run, side int, sample float64, full bool, items ...ledger.Item) ledger.Verification {
	v := ledger.Verification{
		Barcode: r.barcodes[side], Job: r.job.ID, Began: time.Now(), Ended: time.Now(), Drive: fmt.Sprintf("drive %d", side),
		Seed: 1<<63 + 5, Sample: sample, Good: true, BytesTotal: 2000, BytesRead: 2000,
	}
	for _, it := range items {
		c := ledger.CheckedCopy{Item: it.ID, Read: 10}
		if full {
			c.Read, c.Full = 2000, true
		}
		v.Copies = append(v.Copies, c)
	}
	return v
}
