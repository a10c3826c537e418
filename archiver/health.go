package archiver

import (
	"context"
	"errors"
	"fmt"

	"twintape/internal/event"
	"twintape/internal/ledger"
)

// PutBack is Loaded.PutAway, but first it asks the drive what it has to report, records that, of a job if it is not 0, and tells
// what somebody must do. A drive that does not answer keeps nothing from being put away.
func (a *Archiver) PutBack(ctx context.Context, l *Loaded, job int64) error {
	h, err := l.Drive.Health(ctx)
	if err != nil || h.Empty() {
		return l.PutAway(ctx, a.Library)
	}
	for _, alert := range h.Alerts {
		a.Events.Emit(event.Note{Text: fmt.Sprintf("%s, with tape %s: %s", l.Drive.Name(), l.Barcode, alert)})
	}
	if h.Cleaning {
		a.Events.Emit(event.Note{Text: fmt.Sprintf("%s asks to be cleaned: `twintape tapes clean %d` when no job runs", l.Drive.Name(), l.Number)})
	}
	row := ledger.Health{
		Barcode: l.Barcode, Drive: l.Drive.Serial(), Job: job, Cleaning: h.Cleaning,
		Read: h.Read, Written: h.Written, ReadTime: h.ReadTime, WriteTime: h.WriteTime,
	}
	for _, alert := range h.Alerts {
		row.Alerts = append(row.Alerts, int(alert))
	}
	return errors.Join(a.Ledger.RecordHealth(ctx, row), l.PutAway(ctx, a.Library))
}
