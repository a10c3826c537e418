package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
)

func newAbortCommand(a *app) *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "abort ID",
		Short: "End a run that was cut off or stopped",
		Long: "abort gives up a run that nothing shall go on with. What it flushed stays on both tapes and is closed by a catalog,\n" +
			"not verified; the rest waits in the queue again. With --forget no tape is touched: what no catalog closes is given up\n" +
			"and waits in the queue too, and the pair is not written to any more; `twintape tapes recycle` makes its tapes blank.\n\n" +
			"Exit codes: 0 aborted; 1 its tapes cannot be closed; 3 no such run is left to abort; 5 another run is under way.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := a.onlyRun(); err != nil {
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
			if jobs, err = only(jobs, args[0]); err != nil {
				return err
			}
			_, err = a.runJob(cmd, ar, func() (*archiver.Report, error) { return ar.Abort(ctx, jobs[0], owner, forget) })
			if err != nil {
				return withCode(err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "run %d is aborted; what it did not leave on its tapes waits in the queue\n", jobs[0].ID)
			return nil
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "end it in the ledger alone, without touching its tapes")
	return cmd
}
