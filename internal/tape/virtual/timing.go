package virtual

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"twintape/internal/tape"
)

// Timing makes drives take the time that real ones do. The model is a serpentine medium behind a buffer: data goes to and
// from the medium at the native rate; a drive whose buffer runs empty while writing, or full while reading, stops and
// backs up (backhitch); locating moves along the tape and changes the wrap. Figures: IBM LTO Ultrium tape drive manuals
// (rates, capacities, load, unload, average locate), for LTO-5 80 wraps of about 850 m.
type Timing struct {
	Generation string  // "lto5" to "lto9"
	Scale      float64 // how many times faster than life; 1 is life
}

// generation is a drive of one kind with its medium.
type generation struct {
	name         string
	rate         float64 // bytes a second, native
	capacity     float64 // bytes
	wraps        float64
	length       float64 // metres of a wrap
	load, unload time.Duration
}

var generations = map[string]generation{
	"lto5": {"LTO-5", 140e6, 1.5e12, 80, 850, 12 * time.Second, 17 * time.Second},
	"lto6": {"LTO-6", 160e6, 2.5e12, 136, 846, 12 * time.Second, 17 * time.Second},
	"lto7": {"LTO-7", 300e6, 6e12, 112, 960, 15 * time.Second, 24 * time.Second},
	"lto8": {"LTO-8", 360e6, 12e12, 208, 960, 15 * time.Second, 24 * time.Second},
	"lto9": {"LTO-9", 400e6, 18e12, 280, 1035, 16 * time.Second, 56 * time.Second},
}

// What the generations have in common.
const (
	windSpeed  = 10.0                   // metres a second while locating or rewinding
	settle     = 3 * time.Second        // to find a wrap and a record
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
	return g, nil
}

// metres is how far along the tape a byte lies: wraps run there and back.
func (g generation) metres(at int64) float64 {
	wrap, along := math.Modf(float64(at) / (g.capacity / g.wraps))
	if int64(wrap)%2 == 1 {
		along = 1 - along
	}
	return along * g.length
}

func (g generation) locateTime(from, to int64) time.Duration {
	return settle + wind(math.Abs(g.metres(from)-g.metres(to)))
}

func wind(metres float64) time.Duration {
	return time.Duration(metres / windSpeed * float64(time.Second))
}

func (g generation) transfer(n int) time.Duration {
	return time.Duration(float64(n) / g.rate * float64(time.Second))
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
	now, slack := d.now(), d.g.transfer(bufferSize)
	switch {
	case d.mode != mode: // the tape stands
		d.media = max(d.media, now)
	case mode == 'w' && d.media < now, mode == 'r' && d.media+slack < now: // the buffer ran empty, or full
		d.media = now + backhitch
		d.hitchN++
	}
	d.mode = mode
	d.media += d.g.transfer(n)
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
	if waitErr := d.drain(ctx, d.g.locateTime(from, d.place())); err == nil {
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
	if err := d.drain(ctx, wind(d.g.metres(d.place()))+d.g.unload); err != nil {
		return err
	}
	return d.Drive.Unload(ctx)
}

// LocateGap is where locating along the tape begins to be faster than reading on.
func (d *timedDrive) LocateGap() int64 {
	reading := d.g.rate / (d.g.capacity / d.g.wraps) * d.g.length // metres a second
	return int64(settle.Seconds() * d.g.rate / (1 - reading/windSpeed))
}
