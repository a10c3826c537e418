package archiver

import (
	"context"
	"errors"
	"sync"
	"time"

	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// beats is how often a lease is renewed while it lasts.
const beats = 5

// leasedDrive is a drive that writes only while nobody can have taken the job over. A process that stood still, or was cut off from
// the database, for longer than its lease asks before it writes on: its tapes may be another's now.
type leasedDrive struct {
	tape.Drive
	ledger *ledger.Ledger
	end    context.CancelCauseFunc // ends the job: that the ledger cannot tell is no fault of the drive
}

// sure makes sure that the job is this process's; the error wraps ledger.ErrFenced if it is another's.
func (d *leasedDrive) sure(ctx context.Context) error {
	if d.ledger.Leased() {
		return nil
	}
	err := d.ledger.Beat(ctx)
	if err != nil {
		d.end(err)
	}
	return err
}

func (d *leasedDrive) WriteRecord(ctx context.Context, p []byte) error {
	if err := d.sure(ctx); err != nil {
		return err
	}
	return d.Drive.WriteRecord(ctx, p)
}

func (d *leasedDrive) WriteFilemark(ctx context.Context) error {
	if err := d.sure(ctx); err != nil {
		return err
	}
	return d.Drive.WriteFilemark(ctx)
}

func (d *leasedDrive) Flush(ctx context.Context) error {
	if err := d.sure(ctx); err != nil {
		return err
	}
	return d.Drive.Flush(ctx)
}

// heartbeat renews the lease of the job that this process runs until end is called, so that no other machine takes it over, and ends
// the jobs of machines that are not heard of any more, so that what they had planned waits for this one too. If another took this
// job over, because this process stood still or was cut off, the context ends with the reason as its cause.
func (a *Archiver) heartbeat(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.endJob = cancel
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
