package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Health is what a drive reported after it had used a tape.
type Health struct {
	Barcode   string
	Drive     string // its serial number
	Job       int64  // 0 if none
	At        time.Time
	Alerts    []int // TapeAlert numbers
	Cleaning  bool  // the drive asks to be cleaned
	Read      int64 // bytes
	Written   int64 // bytes
	ReadTime  time.Duration
	WriteTime time.Duration
}

// RecordHealth records what a drive reported, now.
func (l *Ledger) RecordHealth(ctx context.Context, h Health) error {
	return l.update(ctx, fmt.Sprintf("record the health of drive %s after tape %s", h.Drive, h.Barcode), func(tx *sql.Tx) error {
		if h.Drive == "" {
			return errors.New("the drive has no serial number")
		}
		t, err := tape(ctx, tx, h.Barcode)
		if err != nil {
			return err
		}
		var job any
		if h.Job != 0 {
			job = h.Job
		}
		var alerts []string
		for _, a := range h.Alerts {
			alerts = append(alerts, strconv.Itoa(a))
		}
		_, err = insert(ctx, tx, `INSERT INTO health (tape, drive, job, happened, alerts, cleaning, bytes_read, bytes_written, read_ns, write_ns)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.ID, text(h.Drive), job, time.Now().UnixNano(), strings.Join(alerts, ","), h.Cleaning,
			h.Read, h.Written, int64(h.ReadTime), int64(h.WriteTime))
		return err
	})
}

// TapeHealth returns what drives reported after they had used a tape, the newest first.
func (l *Ledger) TapeHealth(ctx context.Context, barcode string) ([]Health, error) {
	all, err := collect(ctx, l.read, func(rows *sql.Rows) (h Health, err error) {
		var alerts string
		if err := rows.Scan(&h.Barcode, &h.Drive, &h.Job, instant{&h.At}, &alerts, &h.Cleaning, &h.Read, &h.Written, &h.ReadTime, &h.WriteTime); err != nil {
			return h, err
		}
		for a := range strings.SplitSeq(alerts, ",") {
			if a == "" {
				continue
			}
			n, err := strconv.Atoi(a)
			if err != nil {
				return h, fmt.Errorf("alert %q: %w", a, err)
			}
			h.Alerts = append(h.Alerts, n)
		}
		return h, nil
	}, `SELECT t.barcode, h.drive, COALESCE(h.job, 0), h.happened, h.alerts, h.cleaning, h.bytes_read, h.bytes_written, h.read_ns, h.write_ns
		FROM health h JOIN tapes t ON t.id = h.tape WHERE t.barcode = ? ORDER BY h.id DESC`, barcode)
	return all, l.failed("look the health of tape "+barcode+" up", err)
}
