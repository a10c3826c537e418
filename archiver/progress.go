package archiver

import (
	"sync"
	"time"

	"twintape/internal/event"
)

// Progress joins into one event what is told of tapes that are read at the same time. It may be used concurrently.
type Progress struct {
	events event.Sink
	mu     sync.Mutex
	now    event.Progress
}

// NewProgress makes the Progress of a step in which loaded tapes are read.
func NewProgress(step string, events event.Sink, tapes []*Loaded) *Progress {
	p := &Progress{events: events, now: event.Progress{Step: step, Began: time.Now()}}
	for i, l := range tapes[:min(len(tapes), len(p.now.Sides))] {
		p.now.Sides[i] = event.Side{Barcode: l.Barcode, Drive: l.Drive.Name()}
	}
	return p
}

// Set tells how many bytes of a tape were read, and how many there will be. Tapes count as they were given to NewProgress.
func (p *Progress) Set(tape int, read, toRead int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tape >= len(p.now.Sides) {
		return
	}
	p.now.Sides[tape].Bytes, p.now.Sides[tape].Total = read, toRead
	p.now.Total = max(p.now.Total, toRead)
	p.events.Emit(p.now)
}
