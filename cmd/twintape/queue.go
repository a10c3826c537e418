package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/sources"
)

func newQueueCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "What waits to be archived", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newQueueAddCommand(a), newQueueLsCommand(a), newQueueRmCommand(a))
	return cmd
}

func newQueueAddCommand(a *app) *cobra.Command {
	var options archiver.QueueOptions
	var from string
	cmd := &cobra.Command{
		Use:   "add PATTERN...",
		Short: "Queue what matches, each match as one item",
		Long: "add queues every directory or file that matches a pattern such as 'pot1:/data/**/zen.*.uv' as one item. Quote\n" +
			"patterns against the shell. What waits, is being written or is archived and unchanged is left alone, so the\n" +
			"command may be repeated. An archived item that changed is named, and queued only with --again.",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if len(patterns) == 0 && from == "" {
				return exitcode.With(exitcode.Usage, errors.New("give a pattern such as 'pot1:/data/**/zen.*.uv', or --from FILE"))
			}
			ctx := cmd.Context()
			expected, err := readExpectations(from)
			if err != nil {
				return exitcode.With(exitcode.Usage, err)
			}
			ar, err := a.archiver(ctx, false, event.Discard)
			if err != nil {
				return err
			}
			q, err := ar.QueueAdd(ctx, patterns, expected, options)
			var unknown *sources.Error
			if errors.Is(err, doublestar.ErrBadPattern) || errors.As(err, &unknown) && errors.Is(err, sources.ErrUnknownHost) {
				return exitcode.With(exitcode.Usage, err)
			}
			if err != nil {
				return withCode(err)
			}
			return a.printQueued(cmd, q)
		},
	}
	cmd.Flags().BoolVar(&options.Again, "again", false, "queue archived items that changed since as new versions")
	cmd.Flags().DurationVar(&options.MinAge, "min-age", 0, "leave out items with anything modified since, such as 1h")
	cmd.Flags().StringVar(&from, "from", "", `file of items with expected MD5s, lines of {"path":"pot1:/x.uv","member":"visdata","md5":"…"}`)
	return cmd
}

func readExpectations(file string) ([]archiver.Expectation, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	defer f.Close()
	expected, err := archiver.ReadExpectations(f)
	if err != nil {
		return nil, fmt.Errorf("--from %s: %w", file, err)
	}
	return expected, nil
}

// printQueued prints what became of each item, and a summary to stderr.
func (a *app) printQueued(cmd *cobra.Command, q *archiver.Queued) error {
	counts := make(map[ledger.Outcome]int)
	var bytes int64
	for _, it := range q.Items {
		counts[it.Outcome]++
		if it.Outcome == ledger.Added || it.Outcome == ledger.Renewed {
			bytes += it.Bytes
		}
		if a.json {
			line := map[string]any{"outcome": it.Outcome, "id": it.ID, "host": it.Host, "bytes": it.Bytes, "members": it.Members}
			putPath(line, "path", it.Path)
			if err := printJSON(cmd.OutOrStdout(), line); err != nil {
				return err
			}
			continue
		}
		switch name := printable(it.Host + ":" + it.Path); it.Outcome {
		case ledger.Changed:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is archived and changed since: queue it with --again\n", name)
		case ledger.Enclosed:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is left out: %s waits, and one lies in the other\n", name, printable(it.Other))
		}
	}
	for _, p := range q.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	var parts []string
	for _, o := range []ledger.Outcome{ledger.Added, ledger.Renewed, ledger.Waiting, ledger.Kept, ledger.Changed, ledger.Enclosed} {
		if counts[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[o], outcomes[o]))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing queued"}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s (%s to archive)\n", strings.Join(parts, ", "), humanize.IBytes(uint64(bytes)))
	if len(q.Items) == 0 && len(q.Problems) > 0 {
		return errors.New("nothing could be queued, for the reasons above")
	}
	return nil
}

var outcomes = map[ledger.Outcome]string{
	ledger.Added: "queued", ledger.Renewed: "queued as new versions", ledger.Waiting: "waiting already", ledger.Kept: "archived already",
	ledger.Changed: "changed since they were archived", ledger.Enclosed: "left out",
}

func newQueueLsCommand(a *app) *cobra.Command {
	var states []string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List items and their states",
		Long: "ls lists the items that wait; with --state others too: queued, failed, claimed, written, archived, deletable,\n" +
			"or all.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter := ledger.Filter{Limit: limit}
			for _, s := range states {
				if s == "all" {
					filter.States = nil
					break
				}
				state := ledger.ItemState(s)
				switch state {
				case ledger.Queued, ledger.Failed, ledger.Claimed, ledger.Written, ledger.Archived, ledger.Deletable:
				default:
					return exitcode.With(exitcode.Usage, fmt.Errorf("--state %s: there is queued, failed, claimed, written, archived, deletable, all", s))
				}
				filter.States = append(filter.States, state)
			}
			if len(args) == 1 {
				filter.Host, filter.Pattern = splitPattern(args[0])
			}
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for it, err := range l.Items(cmd.Context(), filter) {
				if err != nil {
					return err
				}
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), itemJSON(it)); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", it.ID, it.State, humanize.IBytes(uint64(it.Bytes)),
					printable(it.Host+":"+it.Path), printable(it.Error))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", []string{"queued", "failed", "claimed"}, "states to list")
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many")
	return cmd
}

// splitPattern splits host:/pattern; a pattern without a host fits all.
func splitPattern(s string) (host, pattern string) {
	if h, p, ok := strings.Cut(s, ":/"); ok {
		return h, "/" + p
	}
	return "", s
}

func itemJSON(it ledger.Item) map[string]any {
	line := map[string]any{
		"id": it.ID, "host": it.Host, "version": it.Version, "state": it.State, "bytes": it.Bytes, "members": it.Members,
		"queued": it.Queued.Format(time.RFC3339),
	}
	putPath(line, "path", it.Path)
	if it.Error != "" {
		line["error"] = it.Error
	}
	var copies []map[string]any
	for _, c := range it.Copies {
		copies = append(copies, copyJSON(c))
	}
	if copies != nil {
		line["copies"] = copies
	}
	return line
}

func copyJSON(c ledger.Copy) map[string]any {
	line := map[string]any{
		"barcode": c.Barcode, "archive": c.Archive, "tape_file": c.TapeFile, "record": c.Record,
		"flushed": c.Flushed.Format(time.RFC3339), "read": c.Read, "full": c.Full,
	}
	if !c.Verified.IsZero() {
		line["verified"], line["drive"], line["sample"] = c.Verified.Format(time.RFC3339), c.Drive, c.Sample
	}
	if c.Bad != "" {
		line["bad"] = c.Bad
	}
	return line
}

func newQueueRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm PATTERN|ID...",
		Short: "Take waiting items out of the queue",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			var ids []int64
			for _, arg := range args {
				if id, err := strconv.ParseInt(arg, 10, 64); err == nil {
					ids = append(ids, id)
					continue
				}
				filter := ledger.Filter{States: []ledger.ItemState{ledger.Queued, ledger.Failed, ledger.Claimed}}
				filter.Host, filter.Pattern = splitPattern(arg)
				before := len(ids)
				for it, err := range l.Items(cmd.Context(), filter) {
					if err != nil {
						return err
					}
					ids = append(ids, it.ID)
				}
				if len(ids) == before {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s matches nothing that waits\n", arg)
				}
			}
			removed, err := l.Dequeue(cmd.Context(), ids)
			if err != nil {
				return withCode(err)
			}
			for _, it := range removed {
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), itemJSON(it)); err != nil {
						return err
					}
				}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d items taken out of the queue\n", len(removed))
			return nil
		},
	}
}
