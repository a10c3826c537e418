// Package model is a small model of a pair's life: one or two jobs that each write an archive and a catalog onto two tapes,
// and everything that can happen meanwhile. Search visits every state that any order of events leads to, and shows that none
// breaks a promise. It knows nothing of the archiver but the table of a job's steps, which it uses and covers wholly.
package model

import (
	"fmt"
	"slices"

	"twintape/internal/ledger"
)

// Mutation breaks the model on purpose: the search must find what it leads to.
type Mutation int

// The mutations; None is the model as the archiver is.
const (
	None Mutation = iota
	RecordBeforeFlush
	NoPositionCheck
	FailedFlushCounts
	LostSideCounts
	NoReload
	SampleCountsAsFull
	MismatchNotRecorded
	SampleHeals
	OverwrittenNotDoubted
	OtherDriveNotAsked
	LostDriveNotAsked
	ResumeUnchecked
	NewDataCountsAsVerified
	mutations
)

// Tape is one tape in its drive, and what the ledger says of it. Counts are of units from the beginning: the first job's archive and
// catalog, the second's.
type Tape struct {
	Medium      int8    // surely there
	Buffer      int8    // behind that, in the drive's buffer
	Reset       bool    // the drive was reset and stands at the beginning, and nobody knows
	Overwritten bool    // it wrote there
	Reloaded    bool    // since it was written last
	Rot         int8    // the unit that is damaged; 0 for none
	Read        [2]int8 // ghost: how each job's archive was truly read back: 0 not, 1 a sample, 2 in full
	Doubtful    bool    // ghost: something was found against it and no full check was good since

	Flushed  int8    // the ledger: up to here everything is a copy
	Verified [2]int8 // the ledger: how each job's archive was read back
	Bad      bool    // the ledger: no copy on it counts
}

// State is the whole.
type State struct {
	Step  ledger.Step // of the latest job; "" before the first
	Alive bool        // its process
	Job   int8        // 1 or 2
	Lost  int8        // the side, 1 or 2, that it goes on without
	Tapes [2]Tape
	// How many more of these may happen.
	Deaths, Resets, Rots, Faults, Refusals, Resumes, Checks int8
}

// Start is the state in which nothing has happened.
func Start() State {
	return State{Deaths: 2, Resets: 1, Rots: 1, Faults: 1, Refusals: 1, Resumes: 3, Checks: 1}
}

// archived tells whether the ledger calls a job's item archived, deletable whether deletable.
func (s *State) verified(job int, level int8) bool {
	for k := range s.Tapes {
		t := &s.Tapes[k]
		if t.Bad || t.Flushed < int8(2*job+1) || t.Verified[job] < level {
			return false
		}
	}
	return true
}

// Broken says which promise a state breaks; empty if it breaks none.
func (s *State) Broken() string {
	for k := range s.Tapes {
		t := &s.Tapes[k]
		for job := range t.Verified {
			if t.Verified[job] > t.Read[job] {
				return fmt.Sprintf("tape %d counts as read back further than it was", k+1)
			}
		}
		switch {
		case t.Flushed > t.Medium && !t.Overwritten:
			return fmt.Sprintf("what the ledger calls a copy is not on the medium of tape %d", k+1)
		case t.Doubtful && !t.Bad:
			return fmt.Sprintf("tape %d counts, although something was found against it", k+1)
		case t.Overwritten && !t.Bad && t.Flushed > 0 && s.Step.Ends():
			return fmt.Sprintf("the job ended, and copies count that were overwritten on tape %d", k+1)
		}
	}
	for job := range 2 {
		if s.verified(job, 1) && (s.Tapes[0].Read[job] < 1 || s.Tapes[1].Read[job] < 1) {
			return "an item is archived that was not read back from both tapes"
		}
		if s.verified(job, 2) && (s.Tapes[0].Read[job] < 2 || s.Tapes[1].Read[job] < 2) {
			return "an item is deletable that was not read in full from both tapes"
		}
	}
	return ""
}

// event is a successor with its name.
type event struct {
	name string
	next State
}

// search is one exploration.
type search struct {
	mutation Mutation
	taken    map[[2]ledger.Step]bool // transitions of live jobs
	out      []event
}

func (x *search) add(name string, next State) { x.out = append(x.out, event{name, next}) }

// enter moves a job to a step.
func (x *search) enter(s State, to ledger.Step) State {
	x.taken[[2]ledger.Step{s.Step, to}] = true
	s.Step = to
	if to.Ends() {
		s.Alive = false
	}
	return s
}

// events are all that can happen next.
func (x *search) events(s State) []event {
	x.out = x.out[:0]
	x.nature(s)
	switch {
	case !s.Alive:
		x.idle(s)
	case s.Step == ledger.Planning:
		x.planning(s)
	case s.Step == ledger.Labelling:
		x.add("labels are written", x.enter(s, ledger.Writing))
	case s.Step == ledger.Writing:
		x.write(s, ledger.Closing)
	case s.Step == ledger.Closing:
		x.write(s, ledger.Verifying)
	case s.Step == ledger.Verifying:
		x.verify(s)
	}
	if s.Alive {
		if s.Step != ledger.Planning || s.Tapes[0].Flushed+s.Tapes[1].Flushed == 0 {
			x.add("something else fails", x.stop(s))
			x.add("nothing fits, or the operator ends it", x.enter(x.settle(s), ledger.Aborted))
		}
		if s.Refusals > 0 {
			n := s
			n.Refusals--
			n.Alive = false // not even its end can be recorded
			x.add("the ledger refuses, and the process ends", x.settleDead(n))
		}
	}
	return x.out
}

// nature is what happens by itself.
func (x *search) nature(s State) {
	if s.Rots > 0 {
		for k := range s.Tapes {
			for _, unit := range []int8{1, 3} {
				if s.Tapes[k].Medium >= unit && s.Tapes[k].Rot == 0 {
					n := s
					n.Rots--
					n.Tapes[k].Rot = unit
					x.add("bit rot", n)
				}
			}
		}
	}
	if !s.Alive {
		return
	}
	if s.Resets > 0 && (s.Step == ledger.Writing || s.Step == ledger.Closing) {
		for k := range s.Tapes {
			n := s
			n.Resets--
			n.Tapes[k].Buffer, n.Tapes[k].Reset = 0, true
			x.add("a drive is reset silently", n)
		}
	}
	if s.Deaths == 0 {
		return
	}
	n := s
	n.Deaths--
	n.Alive = false
	x.add("the process dies", x.settleDead(n))
	for one := int8(0); one <= s.Tapes[0].Buffer; one++ {
		for two := int8(0); two <= s.Tapes[1].Buffer; two++ {
			n := s
			n.Deaths--
			n.Alive = false
			for k, kept := range []int8{one, two} {
				t := &n.Tapes[k]
				t.Medium, t.Buffer, t.Reset, t.Reloaded = t.Medium+kept, 0, false, true
			}
			x.add("power cut", n)
		}
	}
}

// settleDead is what drives do when a process ends: they keep what they have.
func (x *search) settleDead(s State) State {
	for k := range s.Tapes {
		t := &s.Tapes[k]
		t.Medium, t.Buffer, t.Reset, t.Reloaded = t.Medium+t.Buffer, 0, false, true
	}
	return s
}

// settle ends the use of both drives in order: each is asked where it stands, and one that was reset and wrote is told.
func (x *search) settle(s State) State {
	for k := range s.Tapes {
		if t := &s.Tapes[k]; t.Reset && t.Overwritten && x.mutation != OtherDriveNotAsked {
			x.doubt(t)
		}
	}
	return x.settleDead(s)
}

func (x *search) doubt(t *Tape) {
	if x.mutation != OverwrittenNotDoubted {
		t.Bad = true
	}
	t.Verified = [2]int8{}
	t.Doubtful = true
}

func (x *search) stop(s State) State { return x.enter(x.settle(s), ledger.Stopped) }

// idle is what an operator, or the next night, does while no process runs.
func (x *search) idle(s State) {
	ended := s.Step == "" || s.Step == ledger.Done || s.Step == ledger.Aborted || s.Step == ledger.Mismatch
	if ended && s.Job < 2 && x.open(s) {
		n := s
		n.Job, n.Lost, n.Alive, n.Step = s.Job+1, 0, true, ledger.Planning
		x.add("a job begins", n)
	}
	if !ended && s.Resumes > 0 {
		n := s
		n.Resumes--
		n.Alive = true
		if s.Step == ledger.Stopped {
			n = x.enter(n, ledger.Planning)
		} else {
			n.Step = ledger.Planning // its process died: begun again from wherever it was
		}
		x.add("the job is gone on with", n)
	}
	if s.Checks > 0 {
		for k := range s.Tapes {
			if s.Tapes[k].Flushed == 0 {
				continue
			}
			n := s
			n.Checks--
			t := &n.Tapes[k]
			if x.good(t, int8(t.Flushed)) {
				t.Bad, t.Doubtful = false, false
				for job := range t.Verified {
					if t.Flushed >= int8(2*job+2) { // closed by a catalog
						t.Verified[job], t.Read[job] = 2, 2
					}
				}
				x.add("verify --full is good", n)
			} else {
				x.doubt(t)
				x.add("verify --full finds damage", n)
			}
			if t := s.Tapes[k]; x.mutation == SampleHeals && t.Bad {
				m := s
				m.Checks--
				m.Tapes[k].Bad = false
				x.add("a sample is good", m)
			}
		}
	}
}

// open tells whether a further job may use the pair.
func (x *search) open(s State) bool {
	if s.Job == 0 {
		return true
	}
	one, two := &s.Tapes[0], &s.Tapes[1]
	return one.Flushed == two.Flushed && (one.Flushed == 2 || one.Flushed == 0) && !one.Bad && !two.Bad && s.Lost == 0
}

// good tells whether all units up to one can be read.
func (x *search) good(t *Tape, upTo int8) bool {
	return !t.Overwritten && t.Medium >= upTo && (t.Rot == 0 || t.Rot > upTo)
}

// planning checks what is on the tapes, and goes on where the ledger says.
func (x *search) planning(s State) {
	first := int8(2*s.Job - 2) // units before this job
	for k := range s.Tapes {
		t := &s.Tapes[k]
		if s.Lost == int8(k+1) || x.mutation == ResumeUnchecked {
			continue
		}
		// The tail is read; damage further in front is not seen.
		if t.Flushed > 0 && (t.Overwritten || t.Medium < t.Flushed) {
			n := s
			x.doubt(&n.Tapes[k])
			x.add("a tape does not hold the tail", x.stop(n))
			if s.Lost == 0 {
				n.Lost = int8(k + 1)
				x.add("the job goes on without a tape that does not hold the tail", n)
			}
			return
		}
	}
	last := max(s.Tapes[0].Flushed, s.Tapes[1].Flushed)
	if s.Lost != 0 {
		last = s.Tapes[2-s.Lost].Flushed
	}
	for k := range s.Tapes { // what lies behind is cut off, on both alike
		if s.Lost != int8(k+1) {
			s.Tapes[k].Medium, s.Tapes[k].Buffer = min(s.Tapes[k].Medium, last), 0
			if last == 0 {
				s.Tapes[k].Overwritten = false // begun anew with its label
			}
		}
	}
	switch {
	case last == first+2:
		x.add("only the verification is left", x.enter(s, ledger.Verifying))
	case last == first+1:
		x.add("nothing more waits, or all of it was flushed", x.enter(s, ledger.Writing))
		x.add("the operator has it closed", x.enter(s, ledger.Closing))
	case last == 0:
		x.add("the tapes are blank", x.enter(s, ledger.Labelling))
	default:
		x.add("the tapes stand behind the last session", x.enter(s, ledger.Writing))
	}
	x.add("the plan fails", x.stop(s))
	x.add("the operator ends it without a tape", x.enter(x.settle(s), ledger.Aborted))
}

// write writes the next unit of this step, if it is not flushed yet, and flushes it.
func (x *search) write(s State, then ledger.Step) {
	unit := 2*s.Job - 1
	if s.Step == ledger.Closing {
		unit++
	}
	written, flushed := true, true
	for k := range s.Tapes {
		t := &s.Tapes[k]
		if s.Lost == int8(k+1) {
			continue
		}
		written = written && t.Medium+t.Buffer >= unit
		flushed = flushed && t.Flushed >= unit
	}
	if flushed {
		x.add("on", x.enter(s, then))
		return
	}
	if !written {
		for k := range s.Tapes {
			t := &s.Tapes[k]
			if s.Lost == int8(k+1) || t.Medium+t.Buffer >= unit && !t.Reset {
				continue
			}
			n := s
			t = &n.Tapes[k]
			if t.Reset {
				t.Overwritten = true
			}
			t.Buffer, t.Reloaded = unit-t.Medium, false
			x.add("a unit is written", n)
		}
		x.fault(s, unit)
		return
	}
	if x.mutation == RecordBeforeFlush {
		x.add("recorded before it is flushed", x.record(s, unit))
	}
	n := s
	failed := -1
	for k := range n.Tapes {
		t := &n.Tapes[k]
		if s.Lost == int8(k+1) {
			continue
		}
		t.Medium, t.Buffer = t.Medium+t.Buffer, 0
		if t.Reset && x.mutation != NoPositionCheck {
			failed = k
		}
	}
	if failed < 0 {
		x.add("both flush", x.record(n, unit))
	} else {
		t := &n.Tapes[failed]
		if t.Overwritten {
			x.doubt(t)
		}
		x.sideFails(n, failed)
	}
	x.fault(s, unit)
}

// fault is a drive that fails at a write or a flush, and says so.
func (x *search) fault(s State, unit int8) {
	if s.Faults == 0 {
		return
	}
	for k := range s.Tapes {
		if s.Lost == int8(k+1) {
			continue
		}
		n := s
		n.Faults--
		n.Tapes[k].Buffer = 0 // nobody knows what of it is there
		if x.mutation == FailedFlushCounts {
			x.add("a failed flush is recorded", x.record(n, unit))
			continue
		}
		x.sideFails(n, k)
	}
}

// sideFails stops both sides, or goes on with the other.
func (x *search) sideFails(s State, k int) {
	x.add("a drive fails: stop", x.stop(s))
	if s.Lost != 0 {
		return
	}
	s.Lost = int8(k + 1)
	if t := &s.Tapes[k]; t.Reset && t.Overwritten && x.mutation != LostDriveNotAsked {
		x.doubt(t)
	}
	x.add("a drive fails: single", s)
}

// record has the ledger count what was flushed.
func (x *search) record(s State, unit int8) State {
	for k := range s.Tapes {
		if s.Lost == int8(k+1) && x.mutation != LostSideCounts {
			continue
		}
		s.Tapes[k].Flushed = max(s.Tapes[k].Flushed, unit)
		if x.mutation == NewDataCountsAsVerified && unit == 3 {
			s.Tapes[k].Verified[1] = s.Tapes[k].Verified[0]
		}
	}
	return s
}

// verify reads back what this job wrote, after a reload.
func (x *search) verify(s State) {
	reloaded := true
	for k := range s.Tapes {
		reloaded = reloaded && (s.Lost == int8(k+1) || s.Tapes[k].Reloaded)
	}
	if !reloaded && x.mutation != NoReload {
		n := x.settleDead(s)
		x.add("both are unloaded and loaded again", n)
		return
	}
	job := int(s.Job - 1)
	unit := 2*s.Job - 1
	for level := int8(1); level <= 2; level++ {
		for mask := range 4 { // which tapes' samples meet the damage, if there is any
			n := s
			mismatch := false
			for k := range n.Tapes {
				t := &n.Tapes[k]
				if s.Lost == int8(k+1) || t.Flushed < unit+1 {
					continue
				}
				readable := t.Medium+t.Buffer >= unit && !t.Overwritten
				damaged := !readable || t.Rot == unit && (level == 2 || mask>>k&1 == 1)
				if damaged {
					mismatch = true
					if x.mutation != MismatchNotRecorded {
						t.Bad = true
					}
					t.Verified, t.Doubtful = [2]int8{}, true
					continue
				}
				if t.Reloaded {
					t.Read[job] = max(t.Read[job], level)
				}
				counts := level
				if x.mutation == SampleCountsAsFull {
					counts = 2
				}
				t.Verified[job] = max(t.Verified[job], counts)
			}
			if mismatch {
				x.add("a tape does not give back what was written", x.enter(x.settle(n), ledger.Mismatch))
			} else {
				x.add("read back well", x.enter(x.settle(n), ledger.Done))
			}
		}
	}
}

// Result is what a search found.
type Result struct {
	States int
	Taken  map[[2]ledger.Step]bool // transitions between steps that some order of events takes
	Broken string                  // the first promise that is broken, in the fewest events; empty if none is
	Trace  []string                // these events
}

// Search visits every state, breadth first, until a promise is broken or none is left.
func Search(m Mutation) Result {
	type origin struct {
		from int
		by   string
	}
	x := &search{mutation: m, taken: make(map[[2]ledger.Step]bool)}
	states := []State{Start()}
	origins := []origin{{from: -1}}
	seen := map[State]bool{states[0]: true}
	r := Result{Taken: x.taken}
	for i := 0; i < len(states); i++ {
		if r.Broken = states[i].Broken(); r.Broken != "" {
			for at := i; at > 0; at = origins[at].from {
				r.Trace = append(r.Trace, origins[at].by)
			}
			slices.Reverse(r.Trace)
			break
		}
		for _, e := range x.events(states[i]) {
			if !seen[e.next] {
				seen[e.next] = true
				states = append(states, e.next)
				origins = append(origins, origin{i, e.name})
			}
		}
	}
	r.States = len(states)
	return r
}
