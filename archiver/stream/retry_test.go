package stream

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"twintape/sources"
)

// A host that is unavailable for a while is asked again; one that stays so fails its items soon, and no run.
func TestUnavailableHost(t *testing.T) {
	for name, c := range map[string]struct {
		failures int64 // attempts that fail
		good     bool
		atMost   time.Duration
	}{
		"for a while": {3, true, 10 * time.Second},
		"for good":    {1 << 40, false, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, [][][]int{{{9000, 100}, {5000}, {70000}}})
				var attempts atomic.Int64
				r.source.fault = func(p string, _ int64) error {
					if attempts.Add(1) <= c.failures {
						return &sources.Error{Op: "read", Host: "mem", Path: p, Err: fmt.Errorf("%w: the connection: %w", sources.ErrUnavailable, io.EOF)}
					}
					return nil
				}
				began := time.Now()
				if err := r.run(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > c.atMost {
					t.Errorf("the run took %v", took)
				}
				for _, it := range r.items() {
					if good := it.Bad == ""; good != c.good || !good && !strings.Contains(it.Bad, "host unavailable") {
						t.Errorf("item %s: %q", it.Path, it.Bad)
					}
				}
				r.check()
			})
		})
	}
}
