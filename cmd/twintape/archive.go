package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/lock"
	"twintape/verify"
)

// besideRing is the memory in bytes that a run may take beside archive.memory before garbage is collected harder.
const besideRing = 96 << 20

func newArchiveCommand(a *app) *cobra.Command {
	var all, dryRun, full bool
	var sample float64
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Write what is queued onto a pair of tapes, and verify both",
		Long: "archive takes items from the queue, plans them onto the blank tapes with the lowest barcode of each side, writes\n" +
			"both in one pass, reads both back at once after a reload, and records each step in the ledger. Ctrl-C ends the\n" +
			"writing at the next archive border, with the tapes closed properly; a second one ends it at once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			cfg, err := a.config()
			if err != nil {
				return err
			}
			var events event.Sink = event.Discard
			if !dryRun {
				held, err := lock.Acquire(filepath.Join(cfg.StateDir, "archive.lock"))
				if errors.Is(err, lock.ErrHeld) {
					return exitcode.With(exitcode.Held, fmt.Errorf("another run is under way: %w", err))
				}
				if err != nil {
					return err
				}
				a.closers = append(a.closers, held.Close)
				face := newFace(a.log, cmd.ErrOrStderr())
				defer face.Close()
				events = face
			}
			// The collector would else let garbage grow to the ring's size before it looks at it.
			debug.SetMemoryLimit(cfg.Archive.Memory + besideRing)
			ar, err := a.archiver(ctx, true, events)
			if err != nil {
				return err
			}
			if ar.Sample, err = sampleFlags(cmd, sample, full, ar.Sample); err != nil {
				return err
			}
			if dryRun {
				p, err := ar.DryRun(ctx)
				if err != nil {
					return withCode(err)
				}
				return a.printPlan(cmd.OutOrStdout(), p)
			}
			return a.archive(cmd, ar, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "fill pair after pair until nothing is left or no blank pair is")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan; move no tape and record nothing")
	addSampleFlags(cmd, &sample, &full)
	return cmd
}

func addSampleFlags(cmd *cobra.Command, sample *float64, full *bool) {
	cmd.Flags().Float64Var(sample, "sample", 0, "fraction of the items to read back, above 0 and up to 1 (default: verify.sample)")
	cmd.Flags().BoolVar(full, "full", false, "read back every byte, as --sample 1")
	cmd.MarkFlagsMutuallyExclusive("sample", "full")
}

func sampleFlags(cmd *cobra.Command, sample float64, full bool, configured float64) (float64, error) {
	switch {
	case full:
		return 1, nil
	case !cmd.Flags().Changed("sample"):
		return configured, nil
	case !(sample > 0 && sample <= 1):
		return 0, exitcode.With(exitcode.Usage, fmt.Errorf("--sample %v: give a fraction above 0 and up to 1", sample))
	}
	return sample, nil
}

// archive runs one job, or with all one after the other.
func (a *app) archive(cmd *cobra.Command, ar *archiver.Archiver, all bool) error {
	owner, err := archiver.ThisProcess()
	if err != nil {
		return err
	}
	var failed []archiver.FailedItem
	for jobs := 0; ; jobs++ {
		r, err := ar.Run(cmd.Context(), owner, a.stop)
		if r != nil {
			failed = append(failed, r.Failed...)
			if err := a.printReport(cmd.OutOrStdout(), r); err != nil {
				return err
			}
		}
		var noTape *archiver.NoTapeError
		switch {
		case jobs > 0 && errors.Is(err, archiver.ErrNothingQueued), jobs > 0 && errors.As(err, &noTape):
			if noTape != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "items are left in the queue: %v\n", err)
			}
		case err != nil:
			return withCode(err)
		case all:
			continue
		}
		if len(failed) > 0 {
			return &archiver.ItemsFailedError{Items: failed}
		}
		return nil
	}
}

func (a *app) printPlan(out io.Writer, p *archiver.DryPlan) error {
	if a.json {
		return printJSON(out, p)
	}
	fmt.Fprintf(out, "tapes %s and %s: %d archives, %s of data, %s on each tape\n", p.Tapes[0], p.Tapes[1], len(p.Archives),
		size(p.Bytes), size(p.OnTape))
	for _, ar := range p.Archives {
		fmt.Fprintf(out, "archive %d: tape file %d, records %d to %d, %d items, %s\n", ar.Number, ar.TapeFile, ar.Record,
			ar.Record+ar.Records-1, len(ar.Items), size(ar.Bytes))
		for _, it := range ar.Items {
			fmt.Fprintf(out, "  %s\n", printable(it))
		}
	}
	for _, f := range p.Failed {
		fmt.Fprintf(out, "cannot be archived: %s: %s\n", printable(f.Host+":"+f.Path), f.Reason)
	}
	if p.Waiting {
		fmt.Fprintln(out, "more items wait for the next pair")
	}
	return nil
}

func (a *app) printReport(out io.Writer, r *archiver.Report) error {
	if a.json {
		return printJSON(out, reportJSON(r))
	}
	fmt.Fprintf(out, "\njob %d: %s", r.Job.ID, r.Job.Step)
	if r.Job.Tapes[0] != "" {
		fmt.Fprintf(out, ", tapes %s and %s", r.Job.Tapes[0], r.Job.Tapes[1])
	}
	fmt.Fprintf(out, "\n  %d items with %s are flushed on both tapes", r.Archived, size(r.Bytes))
	if r.Written > 0 {
		fmt.Fprintf(out, ", written in %s (%s/s)", r.Written.Round(time.Millisecond), size(int64(float64(r.Bytes)/r.Written.Seconds())))
	}
	fmt.Fprintln(out)
	if r.Verified > 0 {
		fmt.Fprintf(out, "  both tapes were read back in %s\n", r.Verified.Round(time.Millisecond))
	}
	for _, t := range r.Tapes {
		if t != nil {
			printVerified(out, t)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(out, "  not archived, stays queued: %s: %s\n", printable(f.Host+":"+f.Path), printable(f.Reason))
	}
	if r.Waiting {
		fmt.Fprintln(out, "  more items wait for the next pair: run `twintape archive` again, or with --all")
	}
	return nil
}

func reportJSON(r *archiver.Report) map[string]any {
	failed := []map[string]any{}
	for _, f := range r.Failed {
		line := map[string]any{"id": f.ID, "host": f.Host, "reason": f.Reason}
		putPath(line, "path", f.Path)
		failed = append(failed, line)
	}
	return map[string]any{
		"job": jobJSON(r.Job), "archived": r.Archived, "bytes": r.Bytes, "failed": failed, "waiting": r.Waiting,
		"written_seconds": r.Written.Seconds(), "verified_seconds": r.Verified.Seconds(), "tapes": r.Tapes, "good": r.Good(),
	}
}

// printVerified prints what one tape's check read and found.
func printVerified(out io.Writer, r *verify.Report) {
	fmt.Fprintf(out, "%s\n", r)
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
