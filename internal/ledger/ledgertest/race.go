package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// testRace lets jobs on two connections take what they can get, as two processes would.
func testRace(t *testing.T, fresh Fresh) {
	open := fresh(t)
	b := &bench{TB: t, Ledger: open(ledger.Options{}), ctx: t.Context()}
	const tapes, count, jobs = 8, 60, 6
	for i := range tapes {
		_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: fmt.Sprintf("T%d", i)})
		b.must(err)
	}
	var paths []string
	for i := range count {
		paths = append(paths, fmt.Sprintf("/item%d", i))
	}
	b.queue(paths...)

	ledgers := []*ledger.Ledger{b.Ledger, open(ledger.Options{})}
	var mu sync.Mutex
	took := make(map[string][]int64) // item or tape to the jobs that were given it
	errs := make(chan error, jobs)
	for n := range jobs {
		go func() {
			errs <- grab(b.ctx, ledgers[n%2], tapes, func(what string, job int64) {
				mu.Lock()
				defer mu.Unlock()
				took[what] = append(took[what], job)
			})
		}()
	}
	for range jobs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	items := 0
	for what, by := range took {
		if len(by) != 1 {
			t.Errorf("%s was given to jobs %v", what, by)
		}
		if what[0] == '/' {
			items++
		}
	}
	if len(took)-items != tapes || items != count {
		t.Errorf("%d tapes and %d items were taken, want %d and %d", len(took)-items, items, tapes, count)
	}
	for _, it := range b.items(ledger.Filter{}) {
		if by := took[it.Path]; it.State != ledger.Claimed || len(by) != 1 || it.Job != by[0] {
			t.Errorf("%s is %s by job %d, and was given to %v", it.Path, it.State, it.Job, by)
		}
	}
}

// grab is one job: it takes the first free pair, then items one by one until none is left.
func grab(ctx context.Context, l *ledger.Ledger, tapes int, took func(what string, job int64)) error {
	job, err := l.BeginJob(ctx, ledger.Owner{}, 1)
	if err != nil {
		return err
	}
	pair := [2]string{}
	for i := 0; pair[0] == ""; i += 2 {
		if i == tapes {
			return nil // more jobs than pairs
		}
		try := [2]string{fmt.Sprintf("T%d", i), fmt.Sprintf("T%d", i+1)}
		err := l.ClaimPair(ctx, job.ID, try)
		switch {
		case err == nil:
			pair = try
		case !errors.Is(err, ledger.ErrClaimed) && !errors.Is(err, ledger.ErrNotBlank):
			return err
		}
	}
	took(pair[0], job.ID)
	took(pair[1], job.ID)
	session, err := l.StartSession(ctx, job.ID, newSession())
	if err != nil {
		return err
	}
	for number := 1; ; {
		next, err := l.NextQueued(ctx, job.ID, 0, 3)
		if err != nil || len(next) == 0 {
			return err
		}
		_, err = l.PlanArchive(ctx, job.ID, session.ID, Archive(job, session, number, next, 1), 1, nil)
		switch {
		case err == nil:
			for _, it := range next {
				took(it.Path, job.ID)
			}
			number++
		case !errors.Is(err, ledger.ErrClaimed):
			return err
		}
	}
}

// testCancelled ends calls by their context, at whatever point they are: afterwards all or nothing is there.
func testCancelled(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a")
	r := b.run()
	plan := Archive(r.job, r.session, 1, items, 1000)
	var written, refused int
	for n := 0; n < 200 && (written == 0 || refused == 0); n++ {
		ctx := &dyingContext{Context: b.ctx, done: make(chan struct{}), left: n * n}
		id, err := b.PlanArchive(ctx, r.job.ID, r.session.ID, plan, 50, nil)
		planned, listErr := b.Archives(b.ctx, r.session.ID)
		b.must(listErr)
		if err == nil {
			written++
			b.same(id, Archive(r.job, r.session, 1, items, 1000))
			b.must(b.DropUnflushed(b.ctx, r.session.ID))
			continue
		}
		refused++
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled call says %v", err)
		}
		if len(planned) != 0 || b.item(items[0].ID).State != ledger.Queued {
			t.Fatalf("a cancelled call left %+v", planned)
		}
	}
	if written == 0 || refused == 0 {
		t.Errorf("%d calls came through and %d were cancelled: both must occur", written, refused)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	for _, err := range b.Items(ctx, ledger.Filter{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Items with a cancelled context: %v", err)
		}
	}
	if !reflect.DeepEqual(plan.Items[0].Entries[0].MD5, catalog.MD5{}) {
		t.Error("PlanArchive changed what it was given")
	}
}

// dyingContext is cancelled the moment it was asked for its state so many times: the same point in every run.
type dyingContext struct {
	context.Context
	mu   sync.Mutex
	done chan struct{}
	left int
	dead bool
}

func (c *dyingContext) ask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 && !c.dead {
		c.dead = true
		close(c.done)
	}
}

func (c *dyingContext) Done() <-chan struct{} {
	c.ask()
	return c.done
}

func (c *dyingContext) Err() error {
	c.ask()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return context.Canceled
	}
	return nil
}
