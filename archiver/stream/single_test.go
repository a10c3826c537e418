package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"twintape/internal/tape"
)

// lossy makes a rig that goes on with one side, and notes what is told of the other.
func lossy(t *testing.T) (r *rig, lost *[]*SideError, positions *[][2]int64) {
	r = newRig(t, [][][]int{{{90000}}, {{90000}}, {{90000}}, {{90000}}, {{90000}}, {{90000}}})
	r.cfg.FlushBytes = 2 * 90000
	r.cfg.Single = true
	lost, positions = new([]*SideError), new([][2]int64)
	r.cfg.Lost = func(e *SideError) { *lost = append(*lost, e) }
	r.cfg.Flushed = func(_ context.Context, w []Written, p [2]int64) error {
		*positions = append(*positions, p)
		r.flushes = append(r.flushes, w)
		return nil
	}
	return r, lost, positions
}

// When one side's drive fails, the other goes on to the end and gets everything; nothing behind the last common flush is
// reported for the side that failed.
func TestSingle(t *testing.T) {
	errBroken := &tape.SenseError{Key: 4, ASC: 0x44, Text: "hardware"}
	for _, op := range []string{"record", "filemark", "flush", "reset before a flush"} {
		for archive := range 6 {
			for side := range 2 {
				t.Run(fmt.Sprintf("%s in archive %d on side %d", op, archive+1, side), func(t *testing.T) {
					before := runtime.NumGoroutine()
					r, lost, positions := lossy(t)
					at := r.archives[archive].Record
					broken := false
					r.drives[side].before = func(o string, block int64) error {
						if block > at && o == "flush" && op == "reset before a flush" {
							r.drives[side].count = 0
							return nil
						}
						if broken = broken || o == op && block > at; broken {
							return errBroken
						}
						return nil
					}
					if err := r.run(); err != nil {
						t.Fatal(err)
					}
					if len(*lost) != 1 || (*lost)[0].Side != side {
						t.Fatalf("lost was told %v", *lost)
					}
					common := archive / 2 // flushes of both sides, each of two archives
					for n, p := range *positions {
						if good := p[1-side] != 0 && (p[side] != 0) == (n < common); !good || p[side] != 0 && p[0] != p[1] {
							t.Errorf("flush %d was reported at %v", n+1, p)
						}
					}
					// The surviving tape is whole: check compares it with what was planned.
					r.drives[0], r.drives[1] = r.drives[1-side], r.drives[1-side]
					r.check()
					quiet(t, before)
				})
			}
		}
	}
}

// A side may be lost before the run begins; early warning and the end of the medium end the run as ever; and when the other
// side fails too, there is nothing to go on with.
func TestSingleFromTheBeginning(t *testing.T) {
	for side := range 2 {
		r, lost, positions := lossy(t)
		pair := Pair{{Drive: r.drives[0]}, {Drive: r.drives[1]}}
		pair[side].Drive = nil
		if err := Run(t.Context(), r.cfg, pair); err != nil {
			t.Fatal(err)
		}
		if len(*lost) != 0 || slices.ContainsFunc(*positions, func(p [2]int64) bool { return p[side] != 0 || p[1-side] == 0 }) {
			t.Errorf("lost %v, positions %v", *lost, *positions)
		}
		r.drives[0], r.drives[1] = r.drives[1-side], r.drives[1-side]
		r.check()

		for _, full := range []error{tape.ErrEarlyWarning, tape.ErrEndOfMedium} {
			r, lost, _ := lossy(t)
			r.drives[side].before = func(op string, block int64) error {
				if op == "record" && block > r.archives[3].Record {
					return full
				}
				return nil
			}
			if err := r.run(); !errors.Is(err, full) || len(*lost) != 0 || len(r.flushes) != 1 {
				t.Errorf("%v: the error is %v, lost %v, %d flushes", full, err, *lost, len(r.flushes))
			}
		}

		r, lost, _ = lossy(t)
		for k := range r.drives {
			r.drives[k].before = func(op string, block int64) error {
				if block > r.archives[2+k].Record {
					return errTest
				}
				return nil
			}
		}
		var last *SideError
		if err := r.run(); !errors.As(err, &last) || len(*lost) != 1 || last.Side == (*lost)[0].Side {
			t.Errorf("both failed: the error is %v, lost %v", err, *lost)
		}
	}
}

// What made one drive fail may have reset the other: that is asked where it stands before it writes another record.
func TestSingleDoubts(t *testing.T) {
	r, lost, _ := lossy(t)
	at := r.archives[1].Record
	inside, failed := make(chan struct{}), make(chan struct{})
	r.cfg.Lost = func(e *SideError) {
		*lost = append(*lost, e)
		close(failed)
	}
	r.drives[0].before = func(op string, block int64) error {
		if op == "record" && block > at {
			<-inside // the other one is writing a record
			return errTest
		}
		return nil
	}
	var written bool
	r.drives[1].before = func(op string, block int64) error {
		if op != "record" || block <= at || r.drives[1].count == 0 {
			return nil
		}
		if written {
			return nil
		}
		written = true
		close(inside)
		<-failed
		r.drives[1].reset = true // after this record
		return nil
	}
	err := r.run()
	var position *PositionError
	if len(*lost) != 1 || !errors.As(err, &position) || position.Got != 0 {
		t.Fatalf("lost %v, the error is %v", *lost, err)
	}
	if r.drives[1].count != 0 {
		t.Errorf("%d records were written behind the reset", r.drives[1].count)
	}
}

// quiet waits until no more goroutines run than before.
func quiet(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines run, %d did before", runtime.NumGoroutine(), before)
}
