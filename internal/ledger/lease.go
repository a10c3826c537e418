package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const defaultLease = 5 * time.Minute

// leases are the jobs that this process runs, as it knows them. Each has an epoch in the ledger, which counts who went on with
// it. While a Ledger has jobs, whatever is written through it is written only if all of them are still in the same epoch, in
// the same transaction: who was stopped for a while and comes back after another took his job over writes nothing any more,
// of whatever kind.
type leases struct {
	length time.Duration
	mu     sync.Mutex
	epochs map[int64]int64
	until  time.Duration // of this machine's uptime: the leases last longer than that, by the database's clock
}

// uptime is for how long this machine runs, asleep or not.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // the clock is there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// renewed notes that a transaction which began at a time renewed them.
func (h *leases) renewed(began time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = max(h.until, began+h.length)
}

func (h *leases) take(job, epoch int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs[job] = epoch
}

func (h *leases) drop(job int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.epochs, job)
}

func (h *leases) has(job int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.epochs[job]
	return ok
}

func (h *leases) all() map[int64]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.epochs)
}

// fence renews the leases of this process's jobs where others may see them, and refuses a transaction if one of them is another's now.
func (l *Ledger) fence(ctx context.Context, tx *sql.Tx) error {
	held := l.held.all()
	if len(held) == 0 {
		return nil
	}
	jobs := slices.Sorted(maps.Keys(held)) // in one order, as everybody locks them
	var args []any
	for _, job := range jobs {
		args = append(args, job, held[job])
	}
	where := "ended = 0 AND (" + strings.TrimSuffix(strings.Repeat("(id = ? AND epoch = ?) OR ", len(jobs)), " OR ") + ")"
	var ours int64
	var err error
	if l.dialect.shared() {
		ours, err = exec(ctx, tx, "UPDATE jobs SET lease = "+l.dialect.now()+" + ? WHERE "+where, append([]any{l.held.length.Nanoseconds()}, args...)...)
	} else {
		err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM jobs WHERE "+where, args...).Scan(&ours)
	}
	if err != nil || ours == int64(len(jobs)) {
		return err
	}
	for _, id := range jobs {
		j, err := l.job(ctx, tx, id)
		if err != nil {
			return err
		}
		if j.Step.Ends() || j.Epoch != held[id] {
			return fmt.Errorf("job %d was %w, because this process was not heard of: process %d on %s had it last (%s)", id, ErrFenced, j.Owner.PID, j.Owner.Machine, j.Step)
		}
	}
	return nil
}

// Lease is for how long a job's process counts as alive after the last time it wrote anything or called Beat.
func (l *Ledger) Lease() time.Duration { return l.held.length }

// Shared tells whether other machines may work on this ledger.
func (l *Ledger) Shared() bool { return l.dialect.shared() }

// Leased tells whether nobody can have taken over the jobs that were begun or gone on with through this Ledger, without asking the
// database: their leases, which are renewed by whatever is written, have not ended. It costs next to nothing.
func (l *Ledger) Leased() bool {
	if !l.dialect.shared() {
		return true
	}
	l.held.mu.Lock()
	defer l.held.mu.Unlock()
	return uptime() < l.held.until
}

// Beat renews the leases of the jobs that were begun or gone on with through this Ledger and not ended. The error wraps
// ErrFenced if one of them was taken over.
func (l *Ledger) Beat(ctx context.Context) error {
	return l.updateIn(ctx, beside, "renew the leases of its jobs", func(*sql.Tx) error { return nil })
}

// FinishDead ends the job of a process that died, as FinishJob does with Stopped: what it planned and did not flush waits again,
// and its tapes stay reserved for who resumes it. was is the job as it was when its process was found dead; by is who ends it.
// The error wraps ErrClaimed if the job has moved since, or its process, on another machine, may live still.
func (l *Ledger) FinishDead(ctx context.Context, was Job, by Owner, reason string) error {
	return l.updateIn(ctx, beside, fmt.Sprintf("end job %d", was.ID), func(tx *sql.Tx) error {
		// Its process may stand still in the midst of a transaction: nobody waits for that.
		free, err := collect(ctx, tx, scanID, "SELECT id FROM jobs WHERE id = ?"+l.dialect.skipLocked(), was.ID)
		if err == nil && len(free) == 0 {
			err = fmt.Errorf("the job is %w, which writes", ErrClaimed)
		}
		if err != nil {
			return err
		}
		j, err := l.job(ctx, tx, was.ID)
		if err != nil {
			return err
		}
		if err := dead(j, was.Owner, was.Epoch, by); err != nil {
			return err
		}
		return endJob(ctx, tx, j.ID, Stopped, reason)
	})
}

// dead refuses to take over a job that another process goes on with, or may.
func dead(j Job, was Owner, epoch int64, by Owner) error {
	if j.Owner != was || !j.Step.Ends() && j.Epoch != epoch {
		return fmt.Errorf("the job is %w: process %d on %s goes on with it", ErrClaimed, j.Owner.PID, j.Owner.Machine)
	}
	if !j.Step.Ends() && j.Owner.Boot != by.Boot && !j.LeaseOver {
		return fmt.Errorf("the job is %w: process %d on %s was heard of until a moment ago; another machine may go on with it after %s",
			ErrClaimed, j.Owner.PID, j.Owner.Machine, j.Lease.Format(time.RFC3339))
	}
	return nil
}
