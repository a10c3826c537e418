package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newResumeCommand(a *app) *cobra.Command {
	var single bool
	cmd := &cobra.Command{
		Use:   "resume [ID]",
		Short: "Go on with a run that was cut off or stopped",
		Long: "resume goes on with one run, or with all that did not come to their end, on the same tapes: behind the last flush,\n" +
			"after both labels and the end of what is there were checked. What was flushed stays, the rest is planned anew.\n" +
			"A run that had only its verification left is verified. With --single a run goes on with one tape alone if the\n" +
			"other is missing, suspect or damaged; what it writes then has one copy, until that tape has a new twin.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if single && len(args) == 0 {
				return exitcode.With(exitcode.Usage, errors.New("--single concerns one run: give its number"))
			}
			ctx := cmd.Context()
			if err := a.beginRun(cmd); err != nil {
				return err
			}
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			owner, err := archiver.ThisProcess()
			if err != nil {
				return err
			}
			jobs, err := ar.Unfinished(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if jobs, err = only(jobs, args[0]); err != nil {
					return err
				}
			}
			if len(jobs) == 0 {
				return exitcode.With(exitcode.Nothing, fmt.Errorf("no run was cut off or stopped"))
			}
			var failed []archiver.FailedItem
			for _, j := range jobs {
				some, err := a.runJob(cmd, ar, func() (*archiver.Report, error) { return ar.Resume(ctx, j, owner, a.stop, single) })
				if err != nil {
					return withCode(err)
				}
				failed = append(failed, some...)
			}
			return a.incomplete(failed)
		},
	}
	cmd.Flags().BoolVar(&single, "single", false, "go on without one tape that cannot be gone on with")
	return cmd
}

// only picks the job with an ID.
func only(jobs []ledger.Job, id string) ([]ledger.Job, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil, exitcode.With(exitcode.Usage, fmt.Errorf("%q is no job's number: `twintape jobs` lists them", id))
	}
	for _, j := range jobs {
		if j.ID == n {
			return []ledger.Job{j}, nil
		}
	}
	return nil, exitcode.With(exitcode.Nothing, fmt.Errorf("job %d is no run that was cut off or stopped: see `twintape jobs`", n))
}
