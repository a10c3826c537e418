package ledgertest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"twintape/internal/ledger"
)

func testHealth(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := b.written(b.queue("/a")...)
	barcode, twin := b.tapesOf(r)
	want := []ledger.Health{
		{Barcode: barcode, Drive: "HU19477N2X", Job: r.job.ID, Alerts: []int{3, 20}, Cleaning: true, Read: 1 << 40, Written: 2 << 40, ReadTime: time.Hour, WriteTime: 2 * time.Hour},
		{Barcode: barcode, Drive: "1068012345", Read: 7},
	}
	for i := len(want) - 1; i >= 0; i-- {
		b.must(b.RecordHealth(b.ctx, want[i]))
	}
	got, err := b.TapeHealth(b.ctx, barcode)
	b.must(err)
	for i := range got {
		if since := time.Since(got[i].At); since < 0 || since > time.Hour {
			t.Errorf("recorded %v", got[i].At)
		}
		got[i].At = time.Time{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if other, err := b.TapeHealth(b.ctx, twin); err != nil || len(other) > 0 {
		t.Errorf("of the twin: %+v, %v", other, err)
	}
	if err := b.RecordHealth(b.ctx, ledger.Health{Barcode: "NONE", Drive: "x"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("of no tape: %v", err)
	}
	if err := b.RecordHealth(b.ctx, ledger.Health{Barcode: barcode}); err == nil {
		t.Error("of no drive was recorded")
	}
}

// tapesOf are the tapes of a run.
func (b *bench) tapesOf(r *run) (string, string) {
	b.Helper()
	j, err := b.Job(b.ctx, r.job.ID)
	b.must(err)
	return j.Tapes[0], j.Tapes[1]
}

func testOverwrite(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := b.written(b.queue("/a")...)
	barcode, _ := b.tapesOf(r)
	if err := b.AllowOverwrite(b.ctx, barcode, "a tar archive"); !errors.Is(err, ledger.ErrNotBlank) {
		t.Errorf("a tape of a pair may be overwritten: %v", err)
	}
	_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: "FOREIGN1"})
	b.must(err)
	b.must(b.AllowOverwrite(b.ctx, "FOREIGN1", "a tar archive"))
	if got := b.tape("FOREIGN1"); got.Overwrite != "a tar archive" || got.State != ledger.TapeBlank {
		t.Errorf("%+v", got)
	}
	b.must(b.SetTapeState(b.ctx, "FOREIGN1", ledger.TapeRetired, "x"))
	if err := b.AllowOverwrite(b.ctx, "FOREIGN1", ""); !errors.Is(err, ledger.ErrNotBlank) {
		t.Errorf("a retired tape may be overwritten: %v", err)
	}
	if err := b.AllowOverwrite(b.ctx, "NONE", "x"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("no tape may be overwritten: %v", err)
	}
}
