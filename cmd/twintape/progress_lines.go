package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"twintape/internal/event"
)

// lines tells of a run in the log: every fact, and every so often how far it is. Names are left to the log's formatter to
// quote.
type lines struct {
	log   *logrus.Logger
	every time.Duration
	meter *meter

	mu   sync.Mutex
	last time.Time
}

func newLines(log *logrus.Logger) *lines {
	return &lines{log: log, every: 10 * time.Second, meter: newMeter()}
}

// Close is there for face.
func (l *lines) Close() {}

// Emit logs an event.
func (l *lines) Emit(e event.Event) {
	p, ok := e.(event.Progress)
	if !ok {
		logFact(l.log, e)
		return
	}
	s, began := l.meter.update(p)
	now := l.meter.now()
	l.mu.Lock()
	due := !began && now.Sub(l.last) >= l.every
	if began || due {
		l.last = now
	}
	l.mu.Unlock()
	if due {
		l.log.Info(statusLine(s))
	}
}

// logFact logs every event but Progress.
func logFact(log *logrus.Logger, e event.Event) {
	switch e := e.(type) {
	case event.Step:
		text := fmt.Sprintf("job %d: %s", e.Job, e.Step)
		if e.Tapes[0] != "" {
			text += fmt.Sprintf(", tapes %s and %s", e.Tapes[0], e.Tapes[1])
		}
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		log.Info(text)
	case event.Planned:
		log.Infof("planned: %s with %s in %s", count(e.Items, "item"), size(e.Bytes), count(e.Archives, "archive"))
	case event.Flushed:
		where := "both tapes"
		if e.Positions[0] == 0 || e.Positions[1] == 0 {
			where = "one tape"
		}
		log.Infof("archive %d and all before it are on %s (the flush took %s)", e.Archive, where, e.Took.Round(time.Millisecond))
	case event.ItemFailed:
		log.Warnf("not archived: %s:%s: %s", e.Host, e.Path, e.Reason)
	case event.LeftOut:
		log.Warnf("left out, because it is a %s: %s:%s", e.Type, e.Host, e.Path)
	case event.Mismatch:
		log.Error("mismatch on " + e.What)
	case event.Note:
		log.Info(e.Text)
	}
}

// statusLine tells in one line how far a run is.
func statusLine(s status) string {
	var parts []string
	for _, side := range s.Sides {
		part := fmt.Sprintf("%s %s of %s at %s/s", side.Barcode, size(side.Bytes), size(side.Total), size(side.Rate))
		if side.Waits > 0 {
			part += fmt.Sprintf(", waited for data %s", count(int(side.Waits), "time"))
		}
		parts = append(parts, part)
	}
	if s.Ring.Size > 0 {
		parts = append(parts, fmt.Sprintf("buffer %d %% full", 100*s.Ring.Filled/s.Ring.Size))
	}
	for _, h := range s.Hosts {
		parts = append(parts, fmt.Sprintf("%s %s/s", h.Name, size(h.Rate)))
	}
	if s.Left > 0 {
		parts = append(parts, "about "+took(s.Left)+" left")
	}
	return s.Step + ": " + strings.Join(parts, "; ")
}
