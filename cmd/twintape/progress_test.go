package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vbauerster/mpb/v8"

	"twintape/internal/event"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// clock is a time that the test moves.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func writing(bytes int64) event.Progress {
	return event.Progress{
		Step: "writing", Total: 1000e6, Began: began,
		Sides: [2]event.Side{
			{Barcode: "PAPR1001", Drive: "drive 0", Bytes: bytes, Total: 1000e6},
			{Barcode: "PAPR2001", Drive: "drive 1", Bytes: bytes / 2, Total: 1000e6, Waits: 3},
		},
		Ring:  event.Ring{Filled: 64 << 20, Size: 256 << 20},
		Hosts: []event.Host{{Name: "pot1", Bytes: 2 * bytes}},
	}
}

func TestRatesAreThoseOfTheWindow(t *testing.T) {
	c := &clock{began}
	m := newMeter()
	m.now = c.now
	var s status
	for i := range 41 { // 20 s at 10 MB/s, then 20 s at 2 MB/s
		c.Time = began.Add(time.Duration(i) * time.Second)
		done := int64(i) * 10e6
		if i > 20 {
			done = 200e6 + int64(i-20)*2e6
		}
		var first bool
		if s, first = m.update(writing(done)); first != (i == 0) {
			t.Fatalf("after %d s: first is %v", i, first)
		}
		if i == 20 && (s.Sides[0].Rate != 10e6 || s.Sides[1].Rate != 5e6 || s.Hosts[0].Rate != 20e6) {
			t.Errorf("after 20 s the rates are %+v", s)
		}
	}
	if s.Sides[0].Rate != 2e6 || s.Hosts[0].Rate != 4e6 {
		t.Errorf("20 s after the slowdown the rates are %+v", s)
	}
	// The slower drive has 120 MB of 1 GB in 40 s.
	if left := (40 * time.Second) * 880 / 120; s.Left.Round(time.Second) != left.Round(time.Second) {
		t.Errorf("%s left instead of %s", s.Left, left)
	}
	if s, first := m.update(event.Progress{Step: "verifying", Began: c.Time}); !first || len(s.Sides) != 0 || s.Left != 0 {
		t.Errorf("the next step begins with %+v, %v", s, first)
	}
}

func logTo(out *bytes.Buffer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	return log
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	l, c := newLines(logTo(&out)), &clock{began}
	l.meter.now = c.now
	l.Emit(event.Step{Job: 7, Step: "writing", Tapes: [2]string{"PAPR1001", "PAPR2001"}})
	for i := range 26 {
		c.Time = began.Add(time.Duration(i) * time.Second)
		l.Emit(writing(int64(i) * 10e6))
	}
	l.Emit(event.Flushed{Archive: 3, Positions: [2]int64{9, 9}, Took: 1500 * time.Millisecond})
	l.Emit(event.ItemFailed{Host: "pot1", Path: "/a\x1b[2Jb\n", Reason: "it shrank"})
	l.Emit(event.LeftOut{Host: "pot1", Path: "/s", Type: "socket"})
	l.Emit(event.Mismatch{Barcode: "PAPR1001", What: "PAPR1001: md5 differs"})
	l.Emit(event.Planned{Archives: 1, Items: 2, Bytes: 5e9})
	l.Emit(event.Note{Text: "hello"})
	l.Close()
	want := `level=info msg="job 7: writing, tapes PAPR1001 and PAPR2001"
level=info msg="writing: PAPR1001 100 MB of 1.0 GB at 10 MB/s; PAPR2001 50 MB of 1.0 GB at 5.0 MB/s, waited for data 3 times; buffer 25 % full; pot1 20 MB/s; about 3m10s left"
level=info msg="writing: PAPR1001 200 MB of 1.0 GB at 10 MB/s; PAPR2001 100 MB of 1.0 GB at 5.0 MB/s, waited for data 3 times; buffer 25 % full; pot1 20 MB/s; about 3m0s left"
level=info msg="archive 3 and all before it are on both tapes (the flush took 1.5s)"
level=warning msg="not archived: pot1:/a\x1b[2Jb\n: it shrank"
level=warning msg="left out, because it is a socket: pot1:/s"
level=error msg="mismatch on PAPR1001: md5 differs"
level=info msg="planned: 2 items with 5.0 GB in 1 archive"
level=info msg=hello
`
	if out.String() != want {
		t.Errorf("logged:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestBars(t *testing.T) {
	var out bytes.Buffer
	refresh := make(chan any)
	c := &clock{began}
	b := newBars(logTo(new(bytes.Buffer)), &out, mpb.WithManualRefresh(refresh), mpb.WithWidth(200))
	b.meter.now = c.now
	b.Emit(writing(0))
	c.Time = began.Add(20 * time.Second)
	b.Emit(writing(200e6))
	b.Emit(event.ItemFailed{Host: "pot1", Path: "/a\x1b[2Jb", Reason: "it shrank"})
	refresh <- c.Time
	var wg sync.WaitGroup // sinks are used concurrently
	for range 4 {
		wg.Go(func() {
			b.Emit(writing(200e6))
			b.Emit(event.Note{Text: "concurrently"})
		})
	}
	wg.Wait()
	b.Emit(event.Progress{Step: "verifying", Began: c.Time, Sides: [2]event.Side{{Barcode: "PAPR2001", Drive: "drive 1", Total: 5e6}}})
	refresh <- c.Time
	b.Close()
	got := out.String()
	for _, want := range []string{
		"writing PAPR1001 on drive 0", "200 MB of 1.0 GB, 10 MB/s", "writing PAPR2001 on drive 1",
		"100 MB of 1.0 GB, 5.0 MB/s, waited 3 times, 3m0s left",
		"buffer", "25 % of 268 MB, pot1 20 MB/s", `not archived: pot1:/a\x1b[2Jb: it shrank`, "concurrently",
		"verifying PAPR2001 on drive 1", "0 B of 5.0 MB",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not shown in:\n%s", want, got)
		}
	}
}
