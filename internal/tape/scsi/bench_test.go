//go:build guest

package scsi

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"twintape/internal/tape"
)

// TestThroughput tells how fast records of 512 KiB are written, by turns with dd, in medians of five rounds.
func TestThroughput(t *testing.T) {
	const records, size = 128, 512 << 10
	r := newRigOf(t, 2, 1<<30, "TEST01", "TEST02")
	lib, ctx := r.open(), t.Context()
	raw := r.loaded(lib)
	p := make([]byte, records*size)
	for i := range p {
		p[i] = byte(i * 7)
	}
	round := func(d tape.Drive) time.Duration {
		must(t, d.Rewind(ctx))
		began := time.Now()
		for i := range records {
			must(t, d.WriteRecord(ctx, p[i*size:(i+1)*size]))
		}
		must(t, d.Flush(ctx))
		return time.Since(began)
	}
	dd := func() time.Duration {
		must(t, raw.Rewind(ctx))
		must(t, raw.Close())
		began := time.Now()
		// dd closes the drive, which flushes it.
		out, err := exec.Command("dd", "if=/dev/zero", "of="+r.nodes[0], "bs=512k", "count=128").CombinedOutput()
		took := time.Since(began)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		d, err := lib.OpenDrive(ctx, 0)
		must(t, err)
		_, err = d.Load(ctx)
		must(t, err)
		raw = d.(*Drive)
		return took
	}
	var ours, limited, theirs []time.Duration
	dd() // touches the cartridge's memory
	for range 5 {
		theirs = append(theirs, dd())
		ours = append(ours, round(raw))
		limited = append(limited, round(tape.Limited(raw)))
	}
	rate := func(all []time.Duration) float64 {
		slices.Sort(all)
		return records * size / 1e6 / all[len(all)/2].Seconds()
	}
	t.Logf("tape/scsi %.0f MB/s, within tape.Limited %.0f MB/s, dd bs=512k %.0f MB/s", rate(ours), rate(limited), rate(theirs))
}
