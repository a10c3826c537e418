package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/archiver/bridge"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/mycnf"
	"twintape/internal/paperdata"
)

// bridgeTo is the bridge to paper-dump's databases; nil where none are configured. Nothing is connected yet.
func (a *app) bridgeTo(ar *archiver.Archiver) *bridge.Bridge {
	cfg := a.cfg.PaperData
	if cfg.Credentials == "" {
		return nil
	}
	b := &bridge.Bridge{Archiver: ar, Connect: func(ctx context.Context) (*paperdata.DB, error) {
		server, err := mycnf.ReadServer(cfg.Credentials)
		if err != nil {
			return nil, exitcode.With(exitcode.Usage, err)
		}
		id, err := ar.Ledger.Identity(ctx)
		if err != nil {
			return nil, err
		}
		db, err := paperdata.Open(ctx, paperdata.Config{Server: server, Files: cfg.Files, Labels: cfg.Labels, Ledger: id})
		return db, unreachable(err)
	}}
	a.closers = append(a.closers, b.Close)
	return b
}

// unreachable gives the error of a database that does not answer its exit code.
func unreachable(err error) error {
	if _, later := mycnf.Passing(err); later {
		return exitcode.With(exitcode.Unavailable, err)
	}
	return err
}

func newQueueSyncCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring the queue and paper-dump's databases into agreement",
		Long: "sync takes the rows of paper-dump's table File that are to go to tape, in its order, and queues them with their MD5s. Of\n" +
			"what is archived it writes back where it lies (tape_index), whether it may be deleted (is_deletable), and the date of both\n" +
			"labels. Rows that were taken out of the queue are given back, and left alone until `twintape queue add` names them. It may\n" +
			"be repeated, and goes on where it was cut off. `twintape archive` writes back by itself. Rows that cannot be taken are named on\n" +
			"stderr, and the rest is.\n\n" +
			"Exit codes: 0 done, whatever was named; 1 failed; 2 [paperdata] is not configured; 6 the databases do not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return exitcode.With(exitcode.Usage, fmt.Errorf("--limit %d: give a number of rows, or 0 for all", limit))
			}
			ctx := cmd.Context()
			if _, err := a.archiver(ctx, false, event.Discard); err != nil {
				return err
			}
			if a.bridge == nil {
				return exitcode.With(exitcode.Usage, fmt.Errorf("%s has no [paperdata]: it says how to reach paper-dump's databases", a.cfg.File))
			}
			r, err := a.bridge.Sync(ctx, limit)
			parts, printErr := a.printSync(cmd.OutOrStdout(), cmd.ErrOrStderr(), r)
			if err == nil && len(parts) == 0 {
				parts = []string{"nothing to do"}
			}
			if len(parts) > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(parts, ", "))
			}
			return withCode(unreachable(cmp.Or(err, printErr)))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "take at most so many new rows; 0 is all")
	return cmd
}

// printSync prints what was queued, and to errOut what could not be. It returns what there is to say of the rest.
func (a *app) printSync(out, errOut io.Writer, r *bridge.Report) (parts []string, err error) {
	counts := make(map[ledger.Outcome]int)
	t := newTable(out)
	for _, it := range r.Queued {
		counts[it.Outcome]++
		if err := a.printEnqueued(out, t, it); err != nil {
			return nil, err
		}
	}
	if err := t.flush(); err != nil {
		return nil, err
	}
	for _, p := range r.Problems {
		fmt.Fprintln(errOut, "twintape: "+escaped(p.Error()))
	}
	for _, it := range r.Failed {
		fmt.Fprintf(errOut, "twintape: %s could not be archived, and waits: %s\n", printable(it.Host+":"+it.Path), escaped(it.Error))
	}
	for _, o := range outcomes {
		if n := counts[o.Outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.text))
		}
	}
	return append(parts, syncParts(r)...), nil
}

// syncParts are what was done in paper-dump's databases, but for taking rows.
func syncParts(r *bridge.Report) (parts []string) {
	if r.Written > 0 {
		parts = append(parts, fmt.Sprintf("%s written back (%d may be deleted)", count(r.Written, "row"), r.Deletable))
	}
	if r.Released > 0 {
		parts = append(parts, count(r.Released, "row")+" given back")
	}
	if r.Lost > 0 {
		parts = append(parts, count(r.Lost, "item")+" left to others")
	}
	if r.Removed > 0 {
		parts = append(parts, count(r.Removed, "row")+" left alone, being taken out of the queue")
	}
	if len(r.Taken) > 0 {
		parts = append(parts, "labels in use here: "+strings.Join(r.Taken, ", "))
	}
	if len(r.Freed) > 0 {
		parts = append(parts, "labels given back: "+strings.Join(r.Freed, ", "))
	}
	if n := len(r.Failed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed before", n))
	}
	if n := len(r.Problems); n > 0 {
		parts = append(parts, count(n, "problem"))
	}
	return parts
}

// recheckRows takes what paper-dump has taken meanwhile out of the queue: before a run, which may have nothing to do then, and again before
// it plans, so that as much time as can be lies between. That its databases do not answer stops no run that needs no new tapes.
func (a *app) recheckRows(ctx context.Context, tell func(string)) error {
	if a.bridge == nil {
		return nil
	}
	r, err := a.bridge.Recheck(ctx)
	for _, p := range r.Problems {
		tell(escaped(p.Error()))
	}
	if err != nil && exitcode.Of(err) != exitcode.Usage {
		tell(escaped(fmt.Sprintf("it is not known whether paper-dump has taken what waits: %v", err)))
		err = nil
	}
	return err
}

// writeBack tells paper-dump's databases what a run or a verification changed. What it cannot do is done next time, so it is no failure.
func (a *app) writeBack(ctx context.Context) {
	if a.bridge == nil {
		return
	}
	r, err := a.bridge.WriteBack(ctx)
	for _, p := range r.Problems {
		a.log.Warn(escaped(p.Error()))
	}
	r.Problems, r.Failed = nil, nil // told, and told by the run
	if parts := syncParts(r); len(parts) > 0 {
		a.log.Info("paper-dump's databases: " + strings.Join(parts, ", "))
	}
	if err != nil {
		a.log.Warnf("paper-dump's databases do not say yet what is archived: %v; `twintape queue sync`, or the next run, writes it", err)
	}
}
