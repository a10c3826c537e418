package verify

import (
	"testing"
	"time"
)

// A sample for which there is no time has the tape's first and last item; a mismatch ends it.
func TestLimit(t *testing.T) {
	w := write(t, shape{{{9000, 100, 30000, 20000, 700}, {0, 50000, 8, 9}}, {{5000, 5000, 5000, 5000}, {90000, 7, 8}}})
	for seed := range uint64(10) {
		for _, limit := range []time.Duration{1, time.Hour} {
			r, d := judge(t, w.tapes[0], w.expect[0], Options{Sample: 0.3, Seed: seed, Limit: limit})
			n := len(r.Items)
			if !r.Good || !r.Items[0].Full || !r.Items[n-1].Full || limit == 1 && r.ItemsRead > 4 || limit > 1 && r.ItemsRead < 5 {
				t.Fatalf("within %v: %s%+v", limit, r, r.Items)
			}
			checkClaims(t, w, d, r)
		}
	}
	last := w.archives[len(w.archives)-1]
	end := last.Items[len(last.Items)-1].Entries[1].Record
	bad := w.tapes[0].clone()
	bad[end][0] ^= 1
	r, d := judge(t, bad, w.expect[0], Options{Sample: 0.01, Limit: time.Hour})
	if r.Good || r.Escalated || d.bytes == bad.records()*recordSize {
		t.Errorf("a flip in the last item: %s", r)
	}
}

// A record, of whatever kind, that only the second attempt reads is good, and counted.
func TestSecondAttempt(t *testing.T) {
	w := write(t, two)
	for block := range int64(len(w.tapes[0])) {
		d := newDrive("drive 0", w.tapes[0])
		d.once = map[int64]error{block: errMedium}
		r, err := Tape(t.Context(), d, w.expect[0], Options{Sample: 1, Scratch: t.TempDir()})
		if err != nil || !r.Good || r.Retried != 1 || r.BytesRead != r.BytesTotal {
			t.Fatalf("block %d: %v, %s", block, err, r)
		}
	}
}
