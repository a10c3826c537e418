package main

import (
	"fmt"
	"io"
	"time"

	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// printHealth prints what drives reported after they had used a tape.
func printHealth(out io.Writer, health []ledger.Health) {
	for _, h := range health {
		fmt.Fprintf(out, "drive %s, %s: wrote %s at %s, read %s at %s\n", printable(h.Drive), date(h.At),
			size(h.Written), rate(h.Written, h.WriteTime), size(h.Read), rate(h.Read, h.ReadTime))
		for _, a := range h.Alerts {
			fmt.Fprintf(out, "  %s\n", tape.Alert(a))
		}
		if h.Cleaning {
			fmt.Fprintln(out, "  it asks to be cleaned: `twintape tapes clean`")
		}
	}
}

func healthJSON(health []ledger.Health) []map[string]any {
	out := []map[string]any{}
	for _, h := range health {
		alerts := h.Alerts
		if alerts == nil {
			alerts = []int{}
		}
		line := map[string]any{
			"drive": h.Drive, "at": h.At.UTC().Format(time.RFC3339), "alerts": alerts, "cleaning_wanted": h.Cleaning,
			"bytes_read": h.Read, "bytes_written": h.Written, "read_seconds": h.ReadTime.Seconds(), "write_seconds": h.WriteTime.Seconds(),
		}
		if h.Job != 0 {
			line["job"] = h.Job
		}
		out = append(out, line)
	}
	return out
}
