package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"twintape/archiver"
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
			t := newTable(cmd.OutOrStdout(), "JOB", "BEGAN", "STEP", "TAPES", "ITEMS", "SIZE", "WHY")
			for _, j := range jobs {
				if a.json {
					err = printJSON(cmd.OutOrStdout(), jobJSON(j))
				} else {
					err = t.row(strconv.FormatInt(j.ID, 10), date(j.Began), stepOf(j), pairOf(j),
						fmt.Sprintf("%d of %d", j.Archived, j.Items), size(j.Bytes), escaped(j.Reason))
				}
				if err != nil {
					return err
				}
			}
			return t.flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "list at most so many; 0 is all")
	cmd.AddCommand(newJobsShowCommand(a))
	return cmd
}

// stepOf is how far a job has come, with the truth about one whose process is gone.
func stepOf(j ledger.Job) string {
	if died(j) {
		return "died while " + string(j.Step)
	}
	return string(j.Step)
}

func died(j ledger.Job) bool { return j.Ended.IsZero() && !archiver.Alive(j) }

func pairOf(j ledger.Job) string {
	if j.Tapes[0] == "" {
		return "-"
	}
	return j.Tapes[0] + " " + j.Tapes[1]
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
			ctx := cmd.Context()
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			j, err := l.Job(ctx, id)
			if err != nil {
				return err
			}
			var checks []ledger.Verification
			for _, barcode := range j.Tapes {
				if barcode == "" {
					continue
				}
				history, err := l.Verifications(ctx, barcode)
				if err != nil {
					return err
				}
				for _, v := range history {
					if v.Job == j.ID {
						checks = append(checks, v)
					}
				}
			}
			if a.json {
				line := jobJSON(j)
				line["verifications"] = verificationsJSON(checks)
				return printJSON(cmd.OutOrStdout(), line)
			}
			printJob(cmd.OutOrStdout(), j, checks)
			return nil
		},
	}
}

func printJob(out io.Writer, j ledger.Job, checks []ledger.Verification) {
	fmt.Fprintf(out, "job %d (%s): %s\n", j.ID, j.UUID, stepOf(j))
	if j.Reason != "" {
		fmt.Fprintf(out, "%s while %s: %s\n", j.Step, j.Reached, escaped(j.Reason))
	}
	if j.Lost != 0 {
		fmt.Fprintf(out, "it went on without %s\n", j.Tapes[j.Lost-1])
	}
	if j.Tapes[0] != "" {
		fmt.Fprintf(out, "tapes %s and %s\n", j.Tapes[0], j.Tapes[1])
	}
	fmt.Fprintf(out, "%d of %s flushed onto both tapes, %s planned\n", j.Archived, count(int(j.Items), "item"), size(j.Bytes))
	fmt.Fprintf(out, "began %s", date(j.Began))
	if !j.Ended.IsZero() {
		fmt.Fprintf(out, ", ended %s, took %s", date(j.Ended), took(j.Ended.Sub(j.Began)))
	}
	fmt.Fprintln(out)
	if j.Owner != (ledger.Owner{}) { // else it was rebuilt
		fmt.Fprintf(out, "process %d on %s\n", j.Owner.PID, j.Owner.Machine)
	}
	for _, v := range checks {
		fmt.Fprintln(out, verificationText(v))
	}
}

func jobJSON(j ledger.Job) map[string]any {
	line := map[string]any{
		"id": j.ID, "uuid": j.UUID, "step": j.Step, "reached": j.Reached, "sample": j.Sample, "began": j.Began.UTC().Format(time.RFC3339),
		"tapes": j.Tapes, "session": j.Session, "pair": j.Pair, "items": j.Items, "archived": j.Archived, "bytes": j.Bytes,
		"machine": j.Owner.Machine, "pid": j.Owner.PID, "died": died(j),
	}
	if j.Reason != "" {
		line["reason"] = j.Reason
	}
	if j.Lost != 0 {
		line["lost"] = j.Tapes[j.Lost-1]
	}
	if !j.Ended.IsZero() {
		line["ended"] = j.Ended.UTC().Format(time.RFC3339)
	}
	return line
}
