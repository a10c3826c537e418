package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/hold"
	"twintape/internal/ledger"
	"twintape/internal/lock"
)

func newArchiveCommand(a *app) *cobra.Command {
	var all, dryRun, full bool
	var sample float64
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Write what is queued onto a pair of tapes, and verify both",
		Long: "archive first goes on with runs that were cut off or stopped. Then it takes items from the queue, plans them onto\n" +
			"the pair that still has room, or else the blank tapes with the lowest barcode of each side, writes both in one\n" +
			"pass, reads both back at once after a reload, and records each step in the ledger. Ctrl-C ends the writing at the next archive border, with the tapes closed\n" +
			"properly; a second one ends it at once.\n\n" +
			"Exit codes: 0 archived; 1 failed, or some items failed and the rest is archived; 3 nothing is queued; 4 a tape\n" +
			"did not give back what was written; 5 a hold is set, or another run is under way; 6 no blank tape, drive or library is available.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all && dryRun {
				return exitcode.With(exitcode.Usage, errors.New("--all and --dry-run exclude each other: the plan is of the next pair"))
			}
			ctx := cmd.Context()
			if !dryRun {
				if err := a.beginRun(cmd); err != nil {
					return err
				}
			}
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			if ar.Sample, err = sampleFlags(cmd, sample, full, ar.Sample); err != nil {
				return err
			}
			if dryRun {
				face := newFace(a.log, cmd.ErrOrStderr())
				ar.Events = face
				p, err := ar.DryRun(ctx)
				face.Close()
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

// besideRing is the memory in bytes that a run may take beside archive.memory before garbage is collected harder: the
// collector would else let it grow to the ring's size before it looks.
const besideRing = 96 << 20

// beginRun makes this process the only one that runs jobs, unless a hold stands, and begins the run's log.
func (a *app) beginRun(cmd *cobra.Command) error {
	if err := a.onlyRun(); err != nil {
		return err
	}
	// Only now: the run before this one may have set a hold as its last deed.
	if err := notHeld(a.cfg.StateDir); err != nil {
		return err
	}
	var err error
	if a.runLog, err = openRunLog(a.cfg.StateDir, cmd.Name()); err != nil {
		a.log.Warnf("the run's log file: %v; the run goes on without it", err)
	}
	return nil
}

// onlyRun makes this process the only one that runs jobs.
func (a *app) onlyRun() error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(cfg.Archive.Memory + besideRing)
	held, err := lock.Acquire(filepath.Join(cfg.StateDir, "archive.lock"))
	if errors.Is(err, lock.ErrHeld) {
		return exitcode.With(exitcode.Held, fmt.Errorf("another run is under way: %w; wait for it, or see `twintape jobs`", err))
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, held.Close)
	return nil
}

func addSampleFlags(cmd *cobra.Command, sample *float64, full *bool) {
	cmd.Flags().Float64Var(sample, "sample", 0, "fraction of the items to read back, above 0 and up to 1 (default: verify.sample)")
	cmd.Flags().BoolVar(full, "full", false, "read back every byte, as --sample 1")
}

func sampleFlags(cmd *cobra.Command, sample float64, full bool, configured float64) (float64, error) {
	given := cmd.Flags().Changed("sample")
	switch {
	case full && given:
		return 0, exitcode.With(exitcode.Usage, errors.New("--sample and --full exclude each other"))
	case full:
		return 1, nil
	case !given:
		return configured, nil
	case !(sample > 0 && sample <= 1):
		return 0, exitcode.With(exitcode.Usage, fmt.Errorf("--sample %v: give a fraction above 0 and up to 1", sample))
	}
	return sample, nil
}

// archive goes on with runs that were cut off or stopped, then runs one job, or with all one after the other. Once a job came to its end, an
// empty queue, a lack of blank tapes and a stop end it well.
func (a *app) archive(cmd *cobra.Command, ar *archiver.Archiver, all bool) error {
	owner, err := archiver.ThisProcess()
	if err != nil {
		return err
	}
	unfinished, err := ar.Unfinished(cmd.Context())
	if err != nil {
		return err
	}
	var failed []archiver.FailedItem
	a.done, a.lost = 0, nil
	for {
		job := func() (*archiver.Report, error) { return ar.Run(cmd.Context(), owner, a.stop) }
		resumes := len(unfinished) > 0
		if resumes {
			was := unfinished[0]
			unfinished = unfinished[1:]
			job = func() (*archiver.Report, error) { return ar.Resume(cmd.Context(), was, owner, a.stop, false) }
		}
		some, err := a.runJob(cmd, ar, job)
		failed = append(failed, some...)
		var noTape *archiver.NoTapeError
		switch {
		case err == nil && (all || resumes) && !a.stopping():
			continue
		case a.done > 0 && errors.As(err, &noTape):
			fmt.Fprintf(cmd.ErrOrStderr(), "twintape: items are left in the queue: %s\n", escaped(err.Error()))
		case a.done > 0 && errors.Is(err, archiver.ErrNothingQueued):
		case err != nil:
			return withCode(err)
		}
		return a.incomplete(failed)
	}
}

// incomplete is the error of runs that came to their end, but not with everything.
func (a *app) incomplete(failed []archiver.FailedItem) error {
	var err error
	if len(failed) > 0 {
		err = &archiver.ItemsFailedError{Items: failed}
	}
	for _, barcode := range a.lost {
		err = errors.Join(err, fmt.Errorf("a drive failed, and what was written after that has no copy on %s: it needs a new twin (`twintape copies`)", barcode))
	}
	return err
}

// runJob runs one job, shows how it goes, prints its report, and returns the items that failed.
func (a *app) runJob(cmd *cobra.Command, ar *archiver.Archiver, job func() (*archiver.Report, error)) ([]archiver.FailedItem, error) {
	if err := a.recheckRows(cmd.Context(), func(text string) { a.log.Warn(text) }); err != nil {
		return nil, err
	}
	a.inJob.Store(true)
	face := a.face(cmd.ErrOrStderr())
	ar.Events = face
	r, err := job()
	face.Close() // the report comes below what it shows
	a.writeBack(cmd.Context())
	if archiver.NeedsHuman(err) {
		err = errors.Join(err, a.setHold(r, err))
	}
	if r == nil {
		return nil, err
	}
	if r.Job.Step == ledger.Done {
		a.done++
	}
	if r.Lost != "" {
		a.lost = append(a.lost, r.Lost)
	}
	return r.Failed, errors.Join(err, a.printReport(a.reportTo(cmd.OutOrStdout()), r))
}

// setHold keeps later runs from starting until somebody has looked.
func (a *app) setHold(r *archiver.Report, why error) error {
	by := "a run"
	if r != nil {
		by = fmt.Sprintf("job %d", r.Job.ID)
	}
	_, set, err := hold.Set(a.cfg.StateDir, strings.ReplaceAll(why.Error(), "\n", "; "), by)
	if err == nil && set {
		a.log.Warn("a hold is set: no run starts until somebody has looked and said `twintape unhold`")
	}
	return err
}

// stopping tells whether the operator wants to stop.
func (a *app) stopping() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}
