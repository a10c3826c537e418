package archiver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

// wrapped is a library whose drives are changed.
type wrapped struct {
	tape.Library
	drive func(number int, d tape.Drive) (tape.Drive, error)
}

func (w wrapped) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := w.Library.OpenDrive(ctx, number)
	if err != nil {
		return nil, err
	}
	return w.drive(number, d)
}

type ailing struct {
	tape.Drive
	health tape.Health
}

func (d ailing) Health(context.Context) (tape.Health, error) { return d.health, nil }

type notes struct {
	mu   sync.Mutex
	text []string
}

func (n *notes) Emit(e event.Event) {
	if note, ok := e.(event.Note); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.text = append(n.text, note.Text)
	}
}

// What drives report is told and kept, each time a tape is put away.
func TestHealth(t *testing.T) {
	s := newSite(t, 16<<20)
	s.file("a/f", []byte("data"))
	s.queue("pot1:/a")
	told := &notes{}
	s.a.Events = told
	s.a.Library = wrapped{s.lib, func(number int, d tape.Drive) (tape.Drive, error) {
		if number == 1 {
			return d, nil
		}
		return ailing{d, tape.Health{Alerts: []tape.Alert{3}, Cleaning: true, Written: 1000, WriteTime: time.Second}}, nil
	}}
	r, err := s.run()
	must(t, err)
	for _, want := range []string{"drive 0, with tape PAPR1001: TapeAlert 3: ", "drive 0 asks to be cleaned: `twintape tapes clean 0`"} {
		if !slices.ContainsFunc(told.text, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q is not told: %q", want, told.text)
		}
	}
	for barcode, want := range map[string]int{"PAPR1001": 2, "PAPR2001": 0} { // after writing, after verifying
		got, err := s.a.Ledger.TapeHealth(t.Context(), barcode)
		if err != nil || len(got) != want {
			t.Fatalf("%s: %+v, %v", barcode, got, err)
		}
		for _, h := range got {
			if h.Drive != "VIRTUAL0000" || h.Job != r.Job.ID || !slices.Equal(h.Alerts, []int{3}) || !h.Cleaning || h.Written != 1000 || h.WriteTime != time.Second {
				t.Errorf("%+v", h)
			}
		}
	}
}

// A drive that is busy is left out; the job takes others, or tells who has it.
func TestBusyDrives(t *testing.T) {
	s := newSite(t, 16<<20)
	s.file("a/f", []byte("data"))
	s.queue("pot1:/a")
	s.a.Library = wrapped{s.lib, func(number int, d tape.Drive) (tape.Drive, error) {
		if number == 1 {
			return nil, errors.Join(tape.ErrBusy, errors.New("by another program"), d.Close())
		}
		return d, nil
	}}
	var lack *archiver.DrivesError
	if _, err := s.run(); !errors.As(err, &lack) || lack.Have != 1 || !strings.Contains(err.Error(), "by another program") {
		t.Errorf("%v", err)
	}
}

// cleaned is a drive that takes a cleaning cartridge for what it is, and ejects it after some looks.
type cleaned struct {
	tape.Drive
	looks *int
	then  error
}

func (d cleaned) Load(context.Context) (tape.Medium, error) {
	if *d.looks--; *d.looks > 0 {
		return tape.Medium{}, tape.Sense(tape.NotReady, 0x30, 0x03)
	}
	return tape.Medium{}, d.then
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	must(t, virtual.Create(dir, virtual.Options{Drives: 2, Slots: 4}))
	lib, err := virtual.Open(dir)
	must(t, err)
	defer lib.Close()
	clean := func(looks int, then error) (time.Duration, error) {
		var took time.Duration
		var err error
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			a := &archiver.Archiver{Events: event.Discard, Library: wrapped{lib, func(_ int, d tape.Drive) (tape.Drive, error) {
				return cleaned{d, &looks, then}, nil
			}}}
			err = a.Clean(t.Context(), 1)
			took = time.Since(began)
		})
		return took, err
	}
	var absent *archiver.AbsentError
	if _, err := clean(1, tape.ErrNoMedium); !errors.As(err, &absent) {
		t.Errorf("without a cleaning cartridge: %v", err)
	}
	must(t, lib.AddCartridge("PAPR1001", 1<<20))
	must(t, lib.AddCartridge("CLN001", 1<<20))
	must(t, lib.Load(t.Context(), 1, 1)) // somebody left a tape in the drive
	back := func() {
		t.Helper()
		elements, err := lib.Inventory(t.Context())
		must(t, err)
		for _, e := range elements {
			if e.Full && e.Kind != tape.Slot {
				t.Errorf("%s lies in %s %d", e.Barcode, e.Kind, e.Number)
			}
		}
	}
	if took, err := clean(20, tape.ErrNoMedium); err != nil || took < time.Minute || took > 5*time.Minute {
		t.Errorf("cleaning took %v, %v", took, err)
	}
	back()
	if _, err := clean(3, tape.Sense(tape.NotReady, 0x30, 0x07)); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("a used cleaning cartridge: %v", err)
	}
	back()
	if _, err := clean(3, nil); err == nil || !strings.Contains(err.Error(), "no cleaning cartridge") {
		t.Errorf("a tape instead of a cleaning cartridge: %v", err)
	}
	back()
	if took, err := clean(1<<30, nil); err == nil || !strings.Contains(err.Error(), "has not ejected CLN001") || took < 30*time.Minute {
		t.Errorf("a drive that never ends, after %v: %v", took, err)
	}
	back()
}
