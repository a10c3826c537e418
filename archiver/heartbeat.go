package archiver

import (
	"context"
	"errors"
	"sync"
	"time"

	"twintape/internal/ledger"
)

// beats is how often a lease is renewed while it lasts.
const beats = 5

// heartbeat renews the lease of the job that this process runs until end is called, so that no other machine takes it over, and ends
// the jobs of machines that are not heard of any more, so that what they had planned waits for this one too. If another took this
// job over, because this process stood still or was cut off, the context ends with the reason as its cause.
func (a *Archiver) heartbeat(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(a.Ledger.Lease() / beats)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			// Other errors pass, or meet whoever writes next.
			err := a.Ledger.Beat(ctx)
			if err == nil && a.Ledger.Shared() {
				_, err = a.bury(ctx)
			}
			if errors.Is(err, ledger.ErrFenced) {
				cancel(err)
				return
			}
		}
	})
	return ctx, func() {
		close(done)
		cancel(nil)
		beating.Wait()
	}
}
