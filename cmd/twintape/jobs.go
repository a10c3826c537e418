package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newJobsCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the runs, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			jobs, err := l.Jobs(cmd.Context(), limit)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, j := range jobs {
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), jobJSON(j)); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s %s\t%d of %d items\t%s\t%s\n", j.ID, j.Began.Local().Format(time.DateTime), j.Step,
					j.Tapes[0], j.Tapes[1], j.Archived, j.Items, size(j.Bytes), printable(j.Reason))
			}
			return w.Flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "list at most so many; 0 is all")
	cmd.AddCommand(newJobsShowCommand(a))
	return cmd
}

func newJobsShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one run",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return exitcode.With(exitcode.Usage, fmt.Errorf("%q is no job's number: `twintape jobs` lists them", args[0]))
			}
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			j, err := l.Job(cmd.Context(), id)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), jobJSON(j))
			}
			printJob(cmd.OutOrStdout(), j)
			return nil
		},
	}
}

func printJob(out io.Writer, j ledger.Job) {
	fmt.Fprintf(out, "job %d (%s): %s\n", j.ID, j.UUID, j.Step)
	if j.Step == ledger.Stopped {
		fmt.Fprintf(out, "stopped while %s: %s\n", j.Reached, printable(j.Reason))
	}
	if j.Tapes[0] != "" {
		fmt.Fprintf(out, "tapes %s and %s\n", j.Tapes[0], j.Tapes[1])
	}
	fmt.Fprintf(out, "%d of %d items flushed on both tapes, %s\n", j.Archived, j.Items, size(j.Bytes))
	fmt.Fprintf(out, "began %s", j.Began.Local().Format(time.DateTime))
	if !j.Ended.IsZero() {
		fmt.Fprintf(out, ", ended %s after %s", j.Ended.Local().Format(time.DateTime), j.Ended.Sub(j.Began).Round(time.Second))
	}
	fmt.Fprintf(out, "\nprocess %d on %s\n", j.Owner.PID, j.Owner.Machine)
}

func jobJSON(j ledger.Job) map[string]any {
	line := map[string]any{
		"id": j.ID, "uuid": j.UUID, "step": j.Step, "reached": j.Reached, "sample": j.Sample, "began": j.Began.Format(time.RFC3339),
		"tapes": j.Tapes, "session": j.Session, "pair": j.Pair, "items": j.Items, "archived": j.Archived, "bytes": j.Bytes,
		"machine": j.Owner.Machine, "pid": j.Owner.PID,
	}
	if j.Reason != "" {
		line["reason"] = j.Reason
	}
	if !j.Ended.IsZero() {
		line["ended"] = j.Ended.Format(time.RFC3339)
	}
	return line
}
