package model

import (
	"strings"
	"testing"

	"twintape/internal/ledger"
)

// No order of events breaks a promise, every transition that the model takes is one of the ledger's table, and every one of
// the table is taken, so that neither grows apart from the other.
func TestNoOrderBreaksAPromise(t *testing.T) {
	r := Search(None)
	t.Logf("%d states", r.States)
	if r.Broken != "" {
		t.Fatalf("%s:\n%s", r.Broken, strings.Join(r.Trace, "\n"))
	}
	if r.States < 10_000 {
		t.Errorf("only %d states were visited", r.States)
	}
	steps := []ledger.Step{
		ledger.Planning, ledger.Labelling, ledger.Writing, ledger.Closing, ledger.Verifying,
		ledger.Done, ledger.Stopped, ledger.Aborted, ledger.Mismatch,
	}
	for _, from := range steps {
		for _, to := range steps {
			if taken := r.Taken[[2]ledger.Step{from, to}]; taken != to.MayFollow(from) {
				t.Errorf("from %s to %s: taken by the model %v, allowed by the ledger %v", from, to, taken, to.MayFollow(from))
			}
		}
	}
}

// Every fault that is put into the model is found.
func TestMutationsAreFound(t *testing.T) {
	for m := None + 1; m < mutations; m++ {
		r := Search(m)
		if r.Broken == "" {
			t.Errorf("mutation %d breaks no promise in %d states", m, r.States)
			continue
		}
		t.Logf("mutation %d, after %d states: %s: %s", m, r.States, r.Broken, strings.Join(r.Trace, "; "))
	}
}
