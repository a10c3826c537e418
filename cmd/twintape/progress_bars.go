package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"twintape/internal/event"
)

// bars shows a bar for each drive, and one for the buffer with the hosts' rates; all other facts go above them.
type bars struct {
	progress *mpb.Progress
	above    *logrus.Logger
	meter    *meter

	mu     sync.Mutex              // never taken by decorators: mpb waits for them
	now    *atomic.Pointer[status] // what the decorators of this step's bars show
	drives []*mpb.Bar
	ring   *mpb.Bar
}

func newBars(log *logrus.Logger, out io.Writer, options ...mpb.ContainerOption) *bars {
	options = append([]mpb.ContainerOption{mpb.WithOutput(out), mpb.WithRefreshRate(200 * time.Millisecond)}, options...)
	b := &bars{progress: mpb.New(options...), above: logrus.New(), meter: newMeter()}
	b.above.SetLevel(log.GetLevel())
	b.above.SetFormatter(log.Formatter)
	b.above.SetOutput(b.progress)
	return b
}

// Emit shows an event.
func (b *bars) Emit(e event.Event) {
	p, ok := e.(event.Progress)
	if !ok {
		logFact(b.above, e)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, began := b.meter.update(p)
	if began {
		b.leave()
		b.begin(s)
	}
	b.now.Store(&s)
	for i, side := range s.Sides {
		b.drives[i].SetTotal(side.Total, false)
		b.drives[i].SetCurrent(side.Bytes)
	}
	if b.ring != nil {
		b.ring.SetTotal(s.Ring.Size, false)
		b.ring.SetCurrent(s.Ring.Filled)
	}
}

// begin makes the bars of a step. A bar that is made without a total never completes by itself.
func (b *bars) begin(s status) {
	now := new(atomic.Pointer[status])
	now.Store(&s)
	b.now = now
	for i, side := range s.Sides {
		b.drives = append(b.drives, b.progress.AddBar(0, mpb.BarWidth(24),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%s %s on %s", s.Step, side.Barcode, side.Drive), decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return sideText(now.Load(), i) })),
		))
	}
	if s.Ring.Size > 0 {
		b.ring = b.progress.AddBar(0, mpb.BarWidth(24),
			mpb.PrependDecorators(decor.Name("buffer", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return ringText(now.Load()) })),
		)
	}
}

func sideText(s *status, i int) string {
	side := s.Sides[i]
	text := fmt.Sprintf(" %s of %s, %s/s", size(side.Bytes), size(side.Total), size(side.Rate))
	if side.Waits > 0 {
		text += fmt.Sprintf(", waited %s", count(int(side.Waits), "time"))
	}
	if s.Left > 0 && side.Bytes < side.Total {
		text += ", " + took(s.Left) + " left"
	}
	return text
}

func ringText(s *status) string {
	var b strings.Builder
	fmt.Fprintf(&b, " %d %% of %s", 100*s.Ring.Filled/s.Ring.Size, size(s.Ring.Size))
	for _, h := range s.Hosts {
		fmt.Fprintf(&b, ", %s %s/s", h.Name, size(h.Rate))
	}
	return b.String()
}

// leave lets the drives' bars stand as they are, and takes the buffer's away.
func (b *bars) leave() {
	for _, d := range b.drives {
		d.Abort(false)
		d.Wait()
	}
	b.drives = nil
	if b.ring != nil {
		b.ring.Abort(true)
		b.ring.Wait()
		b.ring = nil
	}
}

// Close leaves the bars as they are.
func (b *bars) Close() {
	b.mu.Lock()
	b.leave()
	b.mu.Unlock()
	b.progress.Wait()
}
