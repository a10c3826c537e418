package stream

import (
	"sync/atomic"
	"time"

	"twintape/internal/event"
)

// interval is how often Progress is emitted.
const interval = 500 * time.Millisecond

// progress counts what the writers do.
type progress struct {
	sides [2]struct{ bytes, waits atomic.Int64 }
}

// start emits a Progress twice a second until the returned function is called, and once then.
func (p *progress) start(r *run) (stop func()) {
	began := time.Now()
	emit := func() {
		e := event.Progress{
			Step: "writing", Total: r.Total, Began: began,
			Ring:  event.Ring{Filled: r.ring.ready.Load() * int64(r.RecordSize), Size: int64(r.ring.total * r.RecordSize)},
			Hosts: r.hosts.progress(),
		}
		for i, side := range r.pair {
			if side.Drive == nil {
				continue
			}
			e.Sides[i] = event.Side{
				Barcode: side.Barcode, Drive: side.Drive.Name(), Total: r.Total,
				Bytes: p.sides[i].bytes.Load(), Waits: p.sides[i].waits.Load(),
			}
		}
		r.Events.Emit(e)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				emit()
			case <-quit:
				emit()
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// progress tells what each host has delivered, in the order of their first use.
func (h *hosts) progress() []event.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []event.Host
	for _, name := range h.order {
		out = append(out, event.Host{Name: name, Bytes: h.byName[name].bytes.Load()})
	}
	return out
}
