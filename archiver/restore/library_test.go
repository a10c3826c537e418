package restore_test

import (
	"context"
	"sync/atomic"

	"twintape/internal/tape"
)

// counting is a library that counts the records that are read, and does something after a number of them.
type counting struct {
	tape.Library
	after int64
	then  func()
	reads atomic.Int64
}

func (l *counting) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return &countingDrive{Drive: d, l: l}, err
}

type countingDrive struct {
	tape.Drive
	l *counting
}

func (d *countingDrive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	if n := d.l.reads.Add(1); n == d.l.after && d.l.then != nil {
		d.l.then()
	}
	return d.Drive.ReadRecord(ctx, p)
}
