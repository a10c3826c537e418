package archiver_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"twintape/archiver"
	"twintape/internal/audit"
	"twintape/internal/event"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// The fault matrix makes each fault happen in each phase of the job where it can, on either drive and with either policy,
// looks at what the ledger claims then, lets an operator do what the messages say, and has everything archived in the end.
// It writes the tables of docs/reliability.md, and fails if they are not what stands there.

// reliability is the document, between whose markers the tables stand.
const reliability = "../docs/reliability.md"

const matrixItems = 6

// layout is where things lie on the matrix's tapes: the first archive, the first block behind the first flush, the catalog.
type layout struct{ first, behind, catalog int64 }

// layoutOf archives once without a fault.
func layoutOf(t *testing.T) layout {
	s := newMatrixSite(t, false)
	r, err := s.run()
	must(t, err)
	session, err := s.a.Ledger.Session(t.Context(), r.Job.Session)
	must(t, err)
	archives, err := s.a.Ledger.Archives(t.Context(), session.ID)
	must(t, err)
	if len(archives) != matrixItems {
		t.Fatalf("%d items are in %d archives", matrixItems, len(archives))
	}
	return layout{first: archives[0].Record, behind: archives[2].Record, catalog: session.Catalog.Record}
}

// newMatrixSite has items that take an archive each, flushed at every second one. With an earlier session, the pair holds
// one already.
func newMatrixSite(t *testing.T, earlier bool) *site {
	s := newSite(t, 4<<20)
	s.a.RecordSize, s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 4096, 32<<10, 60<<10, 1<<20
	if earlier {
		s.file("old/visdata", pattern(77, 10_000))
		s.queue("pot1:/old")
		_, err := s.run()
		must(t, err)
	}
	for i := range matrixItems {
		s.file(fmt.Sprintf("obs/zen.%04d.uv/visdata", i), pattern(i, 40_000))
		s.file(fmt.Sprintf("obs/zen.%04d.uv/flags", i), nil)
	}
	s.queue("pot1:/obs/zen.*.uv")
	return s
}

// cell is one fault in one phase.
type cell struct {
	fault   string
	phase   string
	make    func(drive int) []fault.Fault
	earlier bool // the pair holds a session already
	hangs   bool // time must pass until it is noticed
}

func one(f fault.Fault) func(int) []fault.Fault {
	return func(drive int) []fault.Fault { f.Drive = drive; return []fault.Fault{f} }
}

var (
	errCleaning = &tape.SenseError{Key: 1, ASC: 0x00, ASCQ: 0x17, Text: "the drive wants to be cleaned"}
	errMedium   = &tape.SenseError{Key: 3, ASC: 0x11, Text: "medium error: the record cannot be read"}
)

// cells are all drive and changer faults.
func cells(at layout) []cell {
	var out []cell
	add := func(name, phase string, f fault.Fault) {
		out = append(out, cell{fault: name, phase: phase, make: one(f)})
	}
	places := []struct {
		phase string
		block int64
	}{{"label", 0}, {"first archive", at.first + 3}, {"behind a flush", at.behind + 3}, {"catalog", at.catalog}}
	for _, p := range places {
		add("write error", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Err: errBroken})
		add("write error after the record was taken", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Err: errBroken, After: true})
		add("cleaning wanted", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Err: errCleaning})
		add("filemark fails", p.phase, fault.Fault{Op: fault.WriteFilemark, Block: p.block, Err: errBroken})
		add("position cannot be read", p.phase, fault.Fault{Op: fault.Position, Block: p.block, Err: errBroken})
		if p.block > 0 {
			add("early warning", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Err: tape.ErrEarlyWarning, Always: true, Every2: true})
			add("end of the medium", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Err: tape.ErrEndOfMedium, Always: true})
			add("drive resets silently", p.phase, fault.Fault{Op: fault.WriteRecord, Block: p.block, Reset: true})
		}
	}
	for n, phase := range []string{"first", "second", "third", "catalog's"} {
		add("flush fails", phase, fault.Fault{Op: fault.Flush, Call: n + 1, Err: errBroken})
		add("flush fails after it took place", phase, fault.Fault{Op: fault.Flush, Call: n + 1, Err: errBroken, After: true})
		add("drive resets before the flush", phase, fault.Fault{Op: fault.Flush, Call: n + 1, Reset: true})
	}
	for n, phase := range []string{"first load", "reload"} {
		add("changer cannot load", phase, fault.Fault{Op: fault.MoveLoad, Call: n + 1, Err: errBroken})
		add("drive does not become ready", phase, fault.Fault{Op: fault.Load, Call: n + 1, Err: errBroken})
	}
	for n, phase := range []string{"before the reload", "at the end"} {
		add("drive does not unload", phase, fault.Fault{Op: fault.Unload, Call: n + 1, Err: errBroken})
		add("changer cannot unload", phase, fault.Fault{Op: fault.MoveUnload, Call: n + 1, Err: errBroken})
	}
	add("read error", "looking for a label", fault.Fault{Op: fault.ReadRecord, Err: errBroken})
	add("read error", "verifying the label", fault.Fault{Op: fault.ReadRecord, Call: 2, Err: errMedium})
	add("read error", "verifying an archive", fault.Fault{Op: fault.ReadRecord, Block: at.behind, Err: errMedium, Always: true})
	add("drive fails", "verifying", fault.Fault{Op: fault.ReadRecord, Block: at.behind, Err: errBroken, Always: true})
	add("bit rot", "verifying", fault.Fault{Op: fault.ReadRecord, Block: at.behind, Flip: 100, Always: true})
	add("locate fails", "verifying", fault.Fault{Op: fault.Locate, Err: errBroken})
	hang := func(phase string, f fault.Fault) {
		f.Hang = true
		out = append(out, cell{fault: "hang", phase: phase, make: one(f), hangs: true})
	}
	hang("changer, first load", fault.Fault{Op: fault.MoveLoad})
	hang("drive, becoming ready", fault.Fault{Op: fault.Load})
	hang("drive, first archive", fault.Fault{Op: fault.WriteRecord, Block: at.first + 3})
	hang("drive, behind a flush", fault.Fault{Op: fault.WriteRecord, Block: at.behind + 3})
	hang("drive, second flush", fault.Fault{Op: fault.Flush, Call: 2})
	hang("drive, catalog", fault.Fault{Op: fault.WriteRecord, Block: at.catalog})
	hang("drive, unloading before the reload", fault.Fault{Op: fault.Unload})
	hang("changer, reload", fault.Fault{Op: fault.MoveLoad, Call: 2})
	hang("drive, verifying", fault.Fault{Op: fault.ReadRecord, Block: at.behind})
	for _, c := range []cell{
		{fault: "read error", phase: "label, before a session is appended", make: one(fault.Fault{Op: fault.ReadRecord, Err: errBroken})},
		{fault: "read error", phase: "last catalog, before a session is appended", make: one(fault.Fault{Op: fault.ReadRecord, Call: 2, Err: errMedium})},
		{fault: "locate fails", phase: "before a session is appended", make: one(fault.Fault{Op: fault.Locate, Err: errBroken})},
		{fault: "write error", phase: "appending", make: one(fault.Fault{Op: fault.WriteRecord, Err: errBroken})},
		{fault: "flush fails", phase: "appending", make: one(fault.Fault{Op: fault.Flush, Call: 2, Err: errBroken})},
	} {
		c.earlier = true
		out = append(out, c)
	}
	return out
}

// outcome is what a fault led to.
type outcome struct{ ended, held, then string }

func TestFaultMatrix(t *testing.T) {
	var mu sync.Mutex
	rows := make(map[string]map[outcome][]string) // by fault, phase and policy: the drives by outcome
	var order []string
	t.Run("drives", func(t *testing.T) {
		for n, c := range cells(layoutOf(t)) {
			if raced && n%8 > 0 {
				continue
			}
			for _, single := range []bool{false, true} {
				key := "| " + c.fault + " | " + c.phase + " | " + policy(single)
				order = append(order, key)
				for drive := range 2 {
					t.Run(fmt.Sprintf("%s, %s, %s, drive %d", c.fault, c.phase, policy(single), drive), func(t *testing.T) {
						t.Parallel()
						var o outcome
						if c.hangs { // in a bubble where hours pass at once
							synctest.Test(t, func(t *testing.T) { o = runCell(t, c, single, drive) })
						} else {
							o = runCell(t, c, single, drive)
						}
						mu.Lock()
						defer mu.Unlock()
						if rows[key] == nil {
							rows[key] = make(map[outcome][]string)
						}
						rows[key][o] = append(rows[key][o], fmt.Sprint(drive))
					})
				}
			}
		}
	})
	var table strings.Builder
	table.WriteString("| fault | phase | policy | drive | the run ends as | hold | afterwards |\n|---|---|---|---|---|---|---|\n")
	for _, key := range order {
		for o, drives := range rows[key] {
			slices.Sort(drives)
			which := "either"
			if len(drives) == 1 {
				which = drives[0]
			}
			fmt.Fprintf(&table, "%s | %s | %s | %s | %s |\n", key, which, o.ended, o.held, o.then)
		}
	}
	if !t.Failed() {
		document(t, "drives", table.String())
	}
}

func policy(single bool) string {
	if single {
		return "single"
	}
	return "stop"
}

func runCell(t *testing.T, c cell, single bool, drive int) outcome {
	s := newMatrixSite(t, c.earlier)
	s.a.Single = single
	s.a.Library = fault.New(t, c.make(drive)...).Library(s.lib)
	r, err := s.run()
	s.truthful(r)
	if lost := r.Lost != ""; lost && r.Job.Step != ledger.Done {
		t.Errorf("the job went on with one tape, and is %s: %v", r.Job.Step, err)
	}
	o := outcome{ended: string(r.Job.Step), held: "no"}
	switch {
	case r.Single > 0:
		o.ended += fmt.Sprintf(", %d on both, %d on one tape", r.Archived, r.Single)
	default:
		o.ended += fmt.Sprintf(", %d of %d on both", r.Archived, matrixItems)
	}
	if archiver.NeedsHuman(err) {
		o.held = "yes"
	}
	s.a.Library, s.a.Events = s.lib, event.Discard
	o.then = s.operator(t)
	return o
}

// operator goes on as the messages say until nothing waits, and tells what became of the items.
func (s *site) operator(t *testing.T) string {
	t.Helper()
	owner, err := archiver.ThisProcess()
	must(t, err)
	how := ""
	for range 4 {
		jobs, err := s.a.Unfinished(t.Context())
		must(t, err)
		for _, j := range jobs {
			how = "resume; "
			r, err := s.a.Resume(t.Context(), j, owner, nil, false)
			if archiver.NeedsHuman(err) {
				how = "resume --single; "
				s.truthful(r)
				r, err = s.a.Resume(t.Context(), j, owner, nil, true)
			}
			if err != nil {
				t.Fatalf("going on: %v", err)
			}
			s.truthful(r)
		}
		r, err := s.run()
		if errors.Is(err, archiver.ErrNothingQueued) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		s.truthful(r)
		if how == "" {
			how = "the next run; "
		}
	}
	s.file("tomorrow/visdata", pattern(99, 5000))
	s.queue("pot1:/tomorrow")
	if r, err := s.run(); err != nil {
		t.Errorf("the next night: %v", err)
	} else {
		s.truthful(r)
	}
	s.drivesEmpty()
	states := s.states()
	states[ledger.Archived]-- // tomorrow's
	archived := states[ledger.Archived] + states[ledger.Deletable]
	if archived+states[ledger.Written] != sumOf(states) || archived < 0 {
		t.Errorf("in the end the states are %v", states)
	}
	s.close()
	s.audit(true)
	if n := states[ledger.Written]; n > 0 {
		return fmt.Sprintf("%s%d archived, %d need a new twin", how, archived, n)
	}
	return how + "all archived"
}

// audit has the site checked from outside; ended says that no job is unfinished. The site must be closed.
func (s *site) audit(ended bool) {
	s.t.Helper()
	a := audit.Site{
		Tapes: filepath.Join(s.dir, "tapes"), Ledger: filepath.Join(s.dir, "ledger.db"), Sources: map[string]string{"pot1": s.data}, Ended: ended,
	}
	for _, fault := range a.Check() {
		s.t.Error(fault)
	}
}

func sumOf(states map[ledger.ItemState]int) (n int) {
	for _, k := range states {
		n += k
	}
	return n
}

// document compares a generated part of docs/reliability.md with what stands there, or puts it there.
func document(t *testing.T, part, text string) {
	t.Helper()
	if raced {
		return // not all of it was run
	}
	data, err := os.ReadFile(reliability)
	must(t, err)
	begin, end := "<!-- "+part+": made by go test -run Matrix ./archiver -->\n", "<!-- end of "+part+" -->"
	before, rest, ok := strings.Cut(string(data), begin)
	stands, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no markers for %q", reliability, part)
	}
	if stands == text {
		return
	}
	if os.Getenv("TWINTAPE_UPDATE") == "" {
		t.Errorf("%s does not say what happens; TWINTAPE_UPDATE=1 writes it anew. It should say:\n%s", reliability, text)
		return
	}
	must(t, os.WriteFile(reliability, []byte(before+begin+text+end+after), 0o644))
}
