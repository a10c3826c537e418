package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"twintape/internal/event"
)

// face shows a run's events until it is closed.
type face interface {
	event.Sink
	Close()
}

// newFace shows bars on a terminal, and plain lines in the log elsewhere.
func newFace(log *logrus.Logger, out io.Writer) face {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return newBars(log, out)
	}
	return &lines{log: log, every: 10 * time.Second}
}

// lines tells of a run in the log: every fact, and how far it is every so often.
type lines struct {
	log   *logrus.Logger
	every time.Duration

	mu   sync.Mutex
	step string
	last time.Time
}

func (l *lines) Close() {}

func (l *lines) Emit(e event.Event) {
	switch e := e.(type) {
	case event.Step:
		text := fmt.Sprintf("job %d: %s", e.Job, e.Step)
		if e.Tapes[0] != "" {
			text += fmt.Sprintf(", tapes %s and %s", e.Tapes[0], e.Tapes[1])
		}
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		l.log.Info(text)
	case event.Planned:
		l.log.Infof("planned: %d items with %s in %d archives", e.Items, size(e.Bytes), e.Archives)
	case event.Progress:
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.Step != l.step {
			l.step, l.last = e.Step, time.Now()
			return
		}
		if time.Since(l.last) >= l.every {
			l.last = time.Now()
			l.log.Info(progressLine(e))
		}
	case event.Flushed:
		l.log.Infof("flushed up to archive %d on both tapes, in %s", e.Archive, e.Took.Round(time.Millisecond))
	case event.ItemFailed:
		l.log.Warnf("not archived: %s: %s", printable(e.Host+":"+e.Path), printable(e.Reason))
	case event.LeftOut:
		l.log.Warnf("left out: %s is a %s", printable(e.Host+":"+e.Path), e.Type)
	case event.Mismatch:
		l.log.Error(printable(e.What))
	case event.Note:
		l.log.Info(e.Text)
	}
}

// progressLine tells in one line how far a run is.
func progressLine(e event.Progress) string {
	var b strings.Builder
	b.WriteString(e.Step)
	seconds := time.Since(e.Began).Seconds()
	for _, s := range e.Sides {
		if s.Barcode == "" {
			continue
		}
		fmt.Fprintf(&b, ", %s %s of %s (%s/s)", s.Barcode, size(s.Bytes), size(s.Total), size(int64(float64(s.Bytes)/seconds)))
	}
	if e.Ring.Size > 0 {
		fmt.Fprintf(&b, ", ring %d %%", 100*e.Ring.Filled/e.Ring.Size)
	}
	for _, h := range e.Hosts {
		fmt.Fprintf(&b, ", %s %s/s", h.Name, size(int64(float64(h.Bytes)/seconds)))
	}
	if left := remaining(e); left > 0 {
		fmt.Fprintf(&b, ", about %s left", left.Round(time.Second))
	}
	return b.String()
}

// remaining reckons how long the slower side still takes.
func remaining(e event.Progress) time.Duration {
	var most time.Duration
	for _, s := range e.Sides {
		if s.Bytes > 0 {
			took := time.Since(e.Began)
			most = max(most, time.Duration(float64(took)*float64(s.Total-s.Bytes)/float64(s.Bytes)))
		}
	}
	return most
}

// bars shows a bar for each drive and a line for the ring and the hosts; all other facts go above them.
type bars struct {
	lines
	progress *mpb.Progress

	mu    sync.Mutex // never taken by decorators: they run while mpb waits for them
	step  string
	drive [2]*mpb.Bar
	ring  *mpb.Bar
	now   atomic.Pointer[event.Progress]
}

func newBars(log *logrus.Logger, out io.Writer) *bars {
	b := &bars{progress: mpb.New(mpb.WithOutput(out), mpb.WithWidth(48), mpb.WithRefreshRate(200*time.Millisecond))}
	above := logrus.New()
	above.SetLevel(log.GetLevel())
	above.SetFormatter(log.Formatter)
	above.SetOutput(b.progress)
	b.log = above
	return b
}

func (b *bars) Emit(e event.Event) {
	p, ok := e.(event.Progress)
	if !ok {
		b.lines.Emit(e)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Step != b.step {
		b.finish()
		b.begin(p)
	}
	b.now.Store(&p)
	for i, s := range p.Sides {
		if b.drive[i] != nil {
			b.drive[i].SetTotal(s.Total, false)
			b.drive[i].SetCurrent(s.Bytes)
		}
	}
}

// begin makes the bars of a step.
func (b *bars) begin(p event.Progress) {
	b.step = p.Step
	for i, s := range p.Sides {
		if s.Barcode == "" {
			continue
		}
		b.drive[i] = b.progress.AddBar(s.Total,
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%s %s on %s ", p.Step, s.Barcode, s.Drive))),
			mpb.AppendDecorators(
				decor.CountersKibiByte("% .1f of % .1f "),
				decor.Any(func(st decor.Statistics) string {
					seconds := time.Since(p.Began).Seconds()
					return fmt.Sprintf("%s/s ", size(int64(float64(st.Current)/seconds)))
				}),
				decor.Any(func(decor.Statistics) string { return b.left() }),
			))
	}
	if p.Ring.Size > 0 {
		b.ring = b.progress.New(1, mpb.NopStyle(),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.hosts() })))
	}
}

func (b *bars) left() string {
	now := b.now.Load()
	if now == nil {
		return ""
	}
	return remaining(*now).Round(time.Second).String()
}

func (b *bars) hosts() string {
	now := b.now.Load()
	if now == nil || now.Ring.Size == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "ring %3d %%", 100*now.Ring.Filled/now.Ring.Size)
	for _, h := range now.Hosts {
		fmt.Fprintf(&out, ", %s %s/s", h.Name, size(int64(float64(h.Bytes)/time.Since(now.Began).Seconds())))
	}
	return out.String()
}

// finish leaves the bars of a step as they are.
func (b *bars) finish() {
	for i, d := range b.drive {
		if d != nil {
			d.EnableTriggerComplete()
			d.Abort(false)
			b.drive[i] = nil
		}
	}
	if b.ring != nil {
		b.ring.Abort(true)
		b.ring = nil
	}
}

func (b *bars) Close() {
	b.mu.Lock()
	b.finish()
	b.mu.Unlock()
	b.progress.Shutdown()
}
