package pool

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"twintape/sources"
)

// fakeHost dials without a network.
type fakeHost struct {
	err   error
	took  time.Duration
	dials []time.Duration // when, since start
	start time.Time
}

// fakeConn is a connection to it.
type fakeConn struct {
	busy int
	dead bool
}

func (c *fakeConn) Busy() int    { return c.busy }
func (c *fakeConn) IsDead() bool { return c.dead }
func (c *fakeConn) Kill(error)   { c.dead = true }

func (h *fakeHost) dial(ctx context.Context) (*fakeConn, error) {
	h.dials = append(h.dials, time.Since(h.start))
	select {
	case <-time.After(h.took):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h.err != nil {
		return nil, h.err
	}
	return new(fakeConn), nil
}

func newFake(limit int) (*fakeHost, *Pool[*fakeConn]) {
	h := &fakeHost{start: time.Now()}
	return h, New(limit, 30*time.Second, h.dial)
}

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFake(4)
		defer p.Close()
		h.err = errors.New("refused")
		// Calls every 100 ms for ten minutes: the host is tried after 1, 2, 4 … 60, 60 s only.
		for time.Since(h.start) < 10*time.Minute {
			if _, err := p.Get(t.Context()); !errors.Is(err, sources.ErrUnavailable) || !errors.Is(err, h.err) {
				t.Fatalf("error %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		var want []time.Duration
		for at, pause := time.Duration(0), time.Second; at < 10*time.Minute; at, pause = at+pause, min(2*pause, time.Minute) {
			want = append(want, at)
		}
		if len(h.dials) != len(want) {
			t.Fatalf("tried at %v, want %v", h.dials, want)
		}
		for i := range want {
			if late := h.dials[i] - want[i]; late < 0 || late > 100*time.Millisecond*time.Duration(i) {
				t.Errorf("try %d at %v, want %v", i, h.dials[i], want[i])
			}
		}
		// A success ends it, and the next failure pauses for a second again.
		h.err = nil
		time.Sleep(time.Minute)
		c, err := p.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Kill(errors.New("gone"))
		h.err = errors.New("refused")
		if _, err := p.Get(t.Context()); !errors.Is(err, h.err) {
			t.Fatal(err)
		}
		h.err = nil
		time.Sleep(time.Second)
		if _, err := p.Get(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFirstConnectIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFake(4)
		defer p.Close()
		h.took = time.Second
		errs := make(chan error)
		for range 5 {
			go func() {
				_, err := p.Get(t.Context())
				errs <- err
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(h.start) != 100*time.Millisecond {
			t.Errorf("impatient call: %v after %v", err, time.Since(h.start))
		}
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if len(h.dials) != 1 {
			t.Errorf("%d connects for 5 calls", len(h.dials))
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFake(4)
		defer p.Close()
		h.took = time.Hour
		_, err := p.Get(t.Context())
		if !errors.Is(err, sources.ErrUnavailable) || !errors.Is(err, ErrSilent) || time.Since(h.start) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(h.start))
		}
	})
}

func TestConnectionsGrowWithLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFake(3)
		defer p.Close()
		h.took = time.Second
		used := map[*fakeConn]int{}
		for range 9 {
			c, err := p.Get(t.Context()) // an idle one is there: no other is wanted
			if err != nil {
				t.Fatal(err)
			}
			used[c]++
		}
		if len(h.dials) != 1 || len(used) != 1 {
			t.Fatalf("%d connects without load", len(h.dials))
		}
		for range 9 {
			c, err := p.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.busy++
			time.Sleep(2 * time.Second)
		}
		if len(h.dials) != 3 {
			t.Errorf("%d connects under load, want 3", len(h.dials))
		}
		for _, c := range p.conns {
			if c.busy != 3 {
				t.Errorf("a connection has %d of 9 calls", c.busy)
			}
		}
		// A host that allows no more of them keeps those it has.
		p.conns[0].Kill(errors.New("gone"))
		h.err = errors.New("too many")
		for range 5 {
			if _, err := p.Get(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
		}
		if len(h.dials) != 4 {
			t.Errorf("the host that refused was asked again at once: %v", h.dials)
		}
	})
}

func TestPoolClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFake(1)
		h.took = time.Hour
		done := make(chan error)
		go func() {
			_, err := p.Get(t.Context())
			done <- err
		}()
		synctest.Wait()
		p.Close()
		if err := <-done; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a waiting call: %v", err)
		}
		if time.Since(h.start) != 0 {
			t.Error("close waited for the connect")
		}
		if p.Spawn(func() {}) {
			t.Error("a goroutine was started after close")
		}
	})
}
