package tape

import (
	"math"
	"time"
)

// Serpentine is a model of a linear tape: its bytes lie on wraps, there and back along the tape, and a drive moves along it
// faster than it reads. Figures: IBM LTO Ultrium tape drive manuals (rates, capacities, average locate), for LTO-5 80 wraps
// of about 850 m.
type Serpentine struct {
	Rate     float64       // bytes a second, native
	Capacity float64       // bytes
	Wraps    float64       // there or back
	Length   float64       // metres of a wrap
	Speed    float64       // metres a second while locating
	Settle   time.Duration // to find a wrap and a record
}

const (
	windSpeed = 10.0            // metres a second
	settle    = 3 * time.Second // to find a wrap and a record
)

var serpentines = map[string]Serpentine{
	"LTO-5": {140e6, 1.5e12, 80, 850, windSpeed, settle},
	"LTO-6": {160e6, 2.5e12, 136, 846, windSpeed, settle},
	"LTO-7": {300e6, 6e12, 112, 960, windSpeed, settle},
	"LTO-8": {360e6, 12e12, 208, 960, windSpeed, settle},
	"LTO-9": {400e6, 18e12, 280, 1035, windSpeed, settle},
}

// SerpentineOf returns the model of a Medium.Type; false where there is none.
func SerpentineOf(medium string) (Serpentine, bool) {
	s, ok := serpentines[medium]
	return s, ok
}

// Metres is how far along the tape a byte lies.
func (s Serpentine) Metres(at int64) float64 {
	wrap, along := math.Modf(float64(at) / (s.Capacity / s.Wraps))
	if int64(wrap)%2 == 1 {
		along = 1 - along
	}
	return along * s.Length
}

// Locate is how long it takes to move from a byte to another.
func (s Serpentine) Locate(from, to int64) time.Duration {
	return s.Settle + s.Wind(math.Abs(s.Metres(from)-s.Metres(to)))
}

// Wind is how long it takes to move along the tape.
func (s Serpentine) Wind(metres float64) time.Duration {
	return time.Duration(metres / s.Speed * float64(time.Second))
}

// Read is how long it takes to read, or write, n bytes.
func (s Serpentine) Read(n int64) time.Duration {
	return time.Duration(float64(n) / s.Rate * float64(time.Second))
}

// Gap is the distance in bytes below which reading on is faster than locating along the tape.
func (s Serpentine) Gap() int64 {
	reading := s.Rate / (s.Capacity / s.Wraps) * s.Length // metres a second
	return int64(s.Settle.Seconds() * s.Rate / (1 - reading/s.Speed))
}
