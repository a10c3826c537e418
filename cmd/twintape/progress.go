package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"

	"twintape/internal/event"
)

// face shows a run's events until it is closed. It may be used concurrently.
type face interface {
	event.Sink
	Close()
}

// newFace shows bars on a terminal, and plain lines in the log elsewhere.
func newFace(log *logrus.Logger, out io.Writer) face {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return newBars(log, out)
	}
	return newLines(log)
}

// window is the time over which rates are taken.
const window = 10 * time.Second

// status is how far a run is, reckoned for showing.
type status struct {
	Step  string
	Sides []sideStatus // of the drives in use
	Ring  event.Ring
	Hosts []hostStatus
	Left  time.Duration // until the slower drive is done; 0 if nothing says
}

// sideStatus is one drive's part.
type sideStatus struct {
	event.Side
	Rate int64 // bytes per second
}

// hostStatus is what one host delivers.
type hostStatus struct {
	Name string
	Rate int64 // bytes per second
}

// meter turns Progress events into statuses. It may be used concurrently.
type meter struct {
	now func() time.Time

	mu    sync.Mutex
	step  string
	paces map[string]*pace
}

func newMeter() *meter { return &meter{now: time.Now} }

// update takes an event in. began says that it is the first of its step.
func (m *meter) update(e event.Progress) (s status, began bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if began = e.Step != m.step; began {
		m.step, m.paces = e.Step, make(map[string]*pace)
	}
	now := m.now()
	s = status{Step: e.Step, Ring: e.Ring}
	for _, side := range e.Sides {
		if side.Barcode == "" {
			continue
		}
		s.Sides = append(s.Sides, sideStatus{Side: side, Rate: m.rate("tape "+side.Barcode, e.Began, now, side.Bytes)})
		if side.Bytes > 0 {
			took := float64(now.Sub(e.Began))
			s.Left = max(s.Left, time.Duration(took*float64(side.Total-side.Bytes)/float64(side.Bytes)))
		}
	}
	for _, h := range e.Hosts {
		s.Hosts = append(s.Hosts, hostStatus{Name: h.Name, Rate: m.rate("host "+h.Name, e.Began, now, h.Bytes)})
	}
	return s, began
}

func (m *meter) rate(of string, began, now time.Time, bytes int64) int64 {
	p := m.paces[of]
	if p == nil {
		p = &pace{{at: began}}
		m.paces[of] = p
	}
	return p.add(now, bytes)
}

// pace is how much had passed at some times, the oldest first: one at least as old as the window, and what came since.
type pace []struct {
	at    time.Time
	bytes int64
}

// add notes how much has passed now, and returns the bytes per second over the window.
func (p *pace) add(now time.Time, bytes int64) int64 {
	*p = append(*p, struct {
		at    time.Time
		bytes int64
	}{now, bytes})
	for len(*p) > 2 && now.Sub((*p)[1].at) >= window {
		*p = (*p)[1:]
	}
	first := (*p)[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 {
		return 0
	}
	return int64(float64(bytes-first.bytes) / took)
}
