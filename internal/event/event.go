// Package event carries the facts of a run to whatever face shows them: a terminal, a log, a page, metrics. A fact is a
// small struct; emitting one never blocks for long and never fails. Sinks must be safe for concurrent use.
package event

import "time"

// Event is one of this package's structs.
type Event any

// Sink takes events.
type Sink interface{ Emit(Event) }

// Discard is a Sink that drops everything.
var Discard Sink = discard{}

type discard struct{}

func (discard) Emit(Event) {}

// Step says that a job enters a step.
type Step struct {
	Job    int64
	Step   string
	Tapes  [2]string
	Detail string
}

// Planned says what a job is going to write.
type Planned struct {
	Archives int
	Items    int
	Bytes    int64 // of the members' data
	Records  int64 // on each tape
}

// Progress is how far the writing or the verifying of a pair has come. It is emitted about twice a second.
type Progress struct {
	Step  string // "writing" or "verifying"
	Total int64  // bytes to write or to read on each tape
	Began time.Time
	Sides [2]Side
	Ring  Ring
	Hosts []Host
}

// Side is one drive's part of a Progress.
type Side struct {
	Barcode string
	Drive   string
	Bytes   int64 // so far
	Total   int64 // to do on this side; verification may locate past the rest
	Waits   int64 // times the drive had to wait for data
}

// Ring is how well the buffer between the sources and the drives is filled, in bytes.
type Ring struct{ Filled, Size int64 }

// Host is what one source has delivered.
type Host struct {
	Name  string
	Bytes int64
}

// Flushed says that both drives have everything up to an archive on the medium.
type Flushed struct {
	Archive   int
	Positions [2]int64
	Took      time.Duration
}

// ItemFailed says that an item is not archived by this run, and why.
type ItemFailed struct {
	Host, Path string
	Reason     string
}

// LeftOut says that a member is not on tape by its nature: a socket, a pipe, a device.
type LeftOut struct {
	Host, Path string
	Type       string
}

// Mismatch says that a tape did not give back what was written.
type Mismatch struct {
	Barcode string
	What    string
}

// Note is a fact for the operator that no other event carries.
type Note struct{ Text string }
