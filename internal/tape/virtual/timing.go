package virtual

import (
	"context"
	"fmt"
	"sync"
	"time"

	"twintape/internal/tape"
)

// Timing makes drives take the time that real ones do. The model is a serpentine medium behind a buffer: data goes to and
// from the medium at the native rate; a drive whose buffer runs empty while writing, or full while reading, stops and
// backs up (backhitch); locating moves along the tape and changes the wrap (tape.Serpentine). Load and unload: IBM LTO
// Ultrium tape drive manuals.
type Timing struct {
	Generation string  // "lto5" to "lto9"
	Scale      float64 // how many times faster than life; 1 is life
}

// generation is a drive of one kind with its medium.
type generation struct {
	tape.Serpentine
	name         string
	load, unload time.Duration
}

var generations = map[string]generation{
	"lto5": {name: "LTO-5", load: 12 * time.Second, unload: 17 * time.Second},
	"lto6": {name: "LTO-6", load: 12 * time.Second, unload: 17 * time.Second},
	"lto7": {name: "LTO-7", load: 15 * time.Second, unload: 24 * time.Second},
	"lto8": {name: "LTO-8", load: 15 * time.Second, unload: 24 * time.Second},
	"lto9": {name: "LTO-9", load: 16 * time.Second, unload: 56 * time.Second},
}

// What the generations have in common.
const (
	backhitch  = 3 * time.Second        // to stop, back up and be at speed again
	syncCost   = 2 * time.Second        // a synchronous filemark beyond emptying the buffer
	bufferSize = 256 << 20              // bytes
	minWait    = 100 * time.Microsecond // shorter waits are saved up
)

// parse checks a Timing.
func (t Timing) parse() (generation, error) {
	g, ok := generations[t.Generation]
	if !ok {
		return g, fmt.Errorf("timing %q: there is lto5, lto6, lto7, lto8 and lto9", t.Generation)
	}
	if !(t.Scale > 0) {
		return g, fmt.Errorf("timing %s at %g times life", t.Generation, t.Scale)
	}
	if g.Serpentine, ok = tape.SerpentineOf(g.name); !ok {
		return g, fmt.Errorf("timing %s: there is no model of %s", t.Generation, g.name)
	}
	return g, nil
}

// timedDrive is a Drive with the model's waits. Durations and times are the model's.
type timedDrive struct {
	*Drive
	g     generation
	scale float64
	start time.Time

	mu     sync.Mutex
	media  time.Duration // when the medium is done with what it was given
	mode   byte          // 'r' or 'w' while the tape moves for it
	hitchN int
}

var _ tape.Drive = (*timedDrive)(nil)

func newTimedDrive(d *Drive, t Timing) (*timedDrive, error) {
	g, err := t.parse()
	return &timedDrive{Drive: d, g: g, scale: t.Scale, start: time.Now()}, err
}

func (d *timedDrive) now() time.Duration {
	return time.Duration(float64(time.Since(d.start)) * d.scale)
}

// until waits for a time of the model.
func (d *timedDrive) until(ctx context.Context, at time.Duration) error {
	wait := time.Duration(float64(at-d.now()) / d.scale)
	if wait < minWait {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stream accounts for n bytes in a direction, and returns when the caller may go on: a writer is ahead of the medium by the
// buffer at most, a reader never is.
func (d *timedDrive) stream(ctx context.Context, mode byte, n int) error {
	d.mu.Lock()
	now, slack := d.now(), d.g.Read(bufferSize)
	switch {
	case d.mode != mode: // the tape stands
		d.media = max(d.media, now)
	case mode == 'w' && d.media < now, mode == 'r' && d.media+slack < now: // the buffer ran empty, or full
		d.media = now + backhitch
		d.hitchN++
	}
	d.mode = mode
	d.media += d.g.Read(int64(n))
	at := d.media
	d.mu.Unlock()
	if mode == 'w' {
		at -= slack
	}
	return d.until(ctx, at)
}

// drain waits until the medium has everything, and for what comes then.
func (d *timedDrive) drain(ctx context.Context, then time.Duration) error {
	d.mu.Lock()
	at := d.now()
	if d.mode == 'w' {
		at = max(at, d.media)
	}
	d.media = at + then
	d.mode = 0
	at = d.media
	d.mu.Unlock()
	return d.until(ctx, at)
}

// Hitches is how often the drive had to stop and back up.
func (d *timedDrive) Hitches() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hitchN
}

// place is where the image stands, in bytes.
func (d *timedDrive) place() int64 {
	d.Drive.mu.Lock()
	defer d.Drive.mu.Unlock()
	if d.medium == nil {
		return 0
	}
	return d.medium.image.off
}

func (d *timedDrive) Load(ctx context.Context) (tape.Medium, error) {
	m, err := d.Drive.Load(ctx)
	m.Type, m.Backhitch = d.g.name, true
	if err != nil {
		return m, err
	}
	return m, d.drain(ctx, d.g.load)
}

func (d *timedDrive) WriteRecord(ctx context.Context, p []byte) error {
	if err := d.Drive.WriteRecord(ctx, p); err != nil {
		return err
	}
	return d.stream(ctx, 'w', len(p))
}

func (d *timedDrive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	n, err := d.Drive.ReadRecord(ctx, p)
	if err != nil {
		return n, err
	}
	return n, d.stream(ctx, 'r', n)
}

func (d *timedDrive) Flush(ctx context.Context) error {
	if err := d.Drive.Flush(ctx); err != nil {
		return err
	}
	return d.drain(ctx, syncCost)
}

// moved waits as long as a move from a place to where the drive stands now takes.
func (d *timedDrive) moved(ctx context.Context, from int64, err error) error {
	if waitErr := d.drain(ctx, d.g.Locate(from, d.place())); err == nil {
		err = waitErr
	}
	return err
}

func (d *timedDrive) Locate(ctx context.Context, block int64) error {
	from := d.place()
	return d.moved(ctx, from, d.Drive.Locate(ctx, block))
}

func (d *timedDrive) SpaceEOD(ctx context.Context) error {
	from := d.place()
	return d.moved(ctx, from, d.Drive.SpaceEOD(ctx))
}

func (d *timedDrive) Rewind(ctx context.Context) error {
	from := d.place()
	return d.moved(ctx, from, d.Drive.Rewind(ctx))
}

func (d *timedDrive) Unload(ctx context.Context) error {
	if err := d.drain(ctx, d.g.Wind(d.g.Metres(d.place()))+d.g.unload); err != nil {
		return err
	}
	return d.Drive.Unload(ctx)
}

// LocateGap is where locating along the tape begins to be faster than reading on.
func (d *timedDrive) LocateGap() int64 { return d.g.Gap() }
