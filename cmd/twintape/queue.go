package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newQueueCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "What waits to be archived",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newQueueAddCommand(a), newQueueLsCommand(a), newQueueRmCommand(a), newQueueSyncCommand(a))
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
			"command may be repeated. An archived item that changed is named, and queued only with --again. What cannot be\n" +
			"queued is named on stderr, and the rest is queued.",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if len(patterns) == 0 && from == "" {
				return exitcode.With(exitcode.Usage, errors.New("give a pattern such as 'pot1:/data/**/zen.*.uv', or --from FILE"))
			}
			if options.MinAge < 0 {
				return exitcode.With(exitcode.Usage, fmt.Errorf("--min-age %s: give an age such as 1h", options.MinAge))
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
			if err != nil {
				return withCode(err)
			}
			return a.printQueued(cmd.OutOrStdout(), cmd.ErrOrStderr(), q)
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

// outcomes are the results of queue add, in the order of its summary.
var outcomes = []struct {
	ledger.Outcome
	text string
}{
	{ledger.Added, "queued"},
	{ledger.Renewed, "queued as a new version"},
	{ledger.Waiting, "waiting or written already"},
	{ledger.Kept, "archived already"},
	{ledger.Changed, "changed since archived"},
	{ledger.Enclosed, "left out"},
}

// printQueued prints what became of each item; problems and a summary go to errOut. What was left alone is only counted.
func (a *app) printQueued(out, errOut io.Writer, q *archiver.Queued) error {
	counts := make(map[ledger.Outcome]int)
	var bytes int64
	t := newTable(out)
	for _, it := range q.Items {
		counts[it.Outcome]++
		if it.Outcome == ledger.Added || it.Outcome == ledger.Renewed {
			bytes += it.Bytes
		}
		if err := a.printEnqueued(out, t, it); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, p := range q.Problems {
		fmt.Fprintln(errOut, "twintape: "+escaped(p.Error()))
	}
	var parts []string
	for _, o := range outcomes {
		if n := counts[o.Outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.text))
		}
	}
	if n := len(q.Problems); n > 0 {
		parts = append(parts, count(n, "problem"))
	}
	fmt.Fprintf(errOut, "%s; %s to archive\n", strings.Join(parts, ", "), size(bytes))
	if len(q.Items) == 0 && len(q.Problems) > 0 {
		return errors.New("nothing could be queued, for the reasons above")
	}
	return nil
}

func (a *app) printEnqueued(out io.Writer, t *table, it ledger.Enqueued) error {
	if a.json {
		line := map[string]any{"outcome": it.Outcome, "host": it.Host, "bytes": it.Bytes, "members": it.Members}
		putPath(line, "path", it.Path)
		if it.ID != 0 {
			line["id"] = it.ID
		}
		if it.Other != "" {
			putPath(line, "other", it.Other)
		}
		return printJSON(out, line)
	}
	name := printable(it.Host + ":" + it.Path)
	switch it.Outcome {
	case ledger.Waiting, ledger.Kept:
		return nil
	case ledger.Changed:
		name += "  (is archived as it was before: queue it with --again)"
	case ledger.Enclosed:
		name += fmt.Sprintf("  (%s waits, and one of them lies in the other)", printable(it.Host+":"+it.Other))
	}
	return t.row(string(it.Outcome), size(it.Bytes), name)
}

// waiting are the states of what the queue holds; its items without a claim can be taken out.
var waiting = []ledger.ItemState{ledger.Queued, ledger.Failed, ledger.Claimed}

var allStates = []ledger.ItemState{ledger.Queued, ledger.Failed, ledger.Claimed, ledger.Written, ledger.Archived, ledger.Deletable}

func newQueueLsCommand(a *app) *cobra.Command {
	var states []string
	filter := ledger.Filter{}
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List items and their states",
		Long: "ls lists the items that wait, or with --state those in other states: queued, failed (waits too, but a job could\n" +
			"not archive it), claimed (a job has it), written (on tape, not proven on two tapes), archived, deletable, or all.\n" +
			"An item is listed if it or a file in it matches a pattern such as 'pot1:/data/**', or 'zen.*.uv' anywhere.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if filter.States, err = parseStates(states); err != nil {
				return exitcode.With(exitcode.Usage, err)
			}
			if len(args) == 1 {
				if filter.Pattern, err = a.ownName(args[0]); err != nil {
					return err
				}
			}
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			t := newTable(cmd.OutOrStdout(), "ID", "STATE", "SIZE", "ITEM", "WHY")
			for it, err := range l.Items(cmd.Context(), filter) {
				if err != nil {
					return withCode(err)
				}
				if a.json {
					err = printJSON(cmd.OutOrStdout(), itemJSON(it))
				} else {
					err = t.row(strconv.FormatInt(it.ID, 10), string(it.State), size(it.Bytes), printable(it.Host+":"+it.Path), escaped(it.Error))
				}
				if err != nil {
					return err
				}
			}
			return t.flush()
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", []string{"queued", "failed", "claimed"}, "states to list")
	cmd.Flags().IntVar(&filter.Limit, "limit", 0, "list at most so many; 0 is all")
	return cmd
}

func parseStates(names []string) ([]ledger.ItemState, error) {
	var out []ledger.ItemState
	for _, n := range names {
		if n == "all" {
			return nil, nil
		}
		if !slices.Contains(allStates, ledger.ItemState(n)) {
			return nil, fmt.Errorf("--state %q: there are %v and all", n, allStates)
		}
		out = append(out, ledger.ItemState(n))
	}
	return out, nil
}

// ownName replaces a host's alias at the beginning of a pattern by the name that the ledger knows.
func (a *app) ownName(pattern string) (string, error) {
	cfg, err := a.config()
	if err != nil {
		return "", err
	}
	host, rest, ok := strings.Cut(pattern, ":/")
	if !ok {
		return pattern, nil
	}
	for _, h := range cfg.Hosts {
		if slices.Contains(h.Aliases, host) {
			return h.Name + ":/" + rest, nil
		}
	}
	return pattern, nil
}

func itemJSON(it ledger.Item) map[string]any {
	line := map[string]any{
		"id": it.ID, "host": it.Host, "version": it.Version, "state": it.State, "bytes": it.Bytes, "members": it.Members,
		"queued": it.Queued.UTC().Format(time.RFC3339),
	}
	putPath(line, "path", it.Path)
	if it.Error != "" {
		line["error"] = it.Error
	}
	if it.Job != 0 {
		line["job"] = it.Job
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
		"flushed": c.Flushed.UTC().Format(time.RFC3339), "read": c.Read, "full": c.Full,
	}
	if !c.Verified.IsZero() {
		line["verified"], line["drive"], line["sample"] = c.Verified.UTC().Format(time.RFC3339), c.Drive, c.Sample
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
		Long: "rm takes items out of the queue, by their numbers or by patterns over the items' paths, such as 'pot1:/data/**'.\n" +
			"Items that a job has, or that are on tape, stay: they are named, the rest is taken out, and the exit code is 1.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, out, errOut := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			var ids []int64
			stay := 0
			for _, arg := range args {
				filter, fits, err := a.queuedBy(arg)
				if err != nil {
					return err
				}
				matched := false
				for it, err := range l.Items(ctx, filter) {
					if err != nil {
						return withCode(err)
					}
					if !fits(it) {
						continue
					}
					matched = true
					if why := staysFor(it); why != "" {
						stay++
						fmt.Fprintf(errOut, "twintape: %s stays: %s\n", printable(it.Host+":"+it.Path), why)
						continue
					}
					ids = append(ids, it.ID)
				}
				if !matched {
					fmt.Fprintf(errOut, "twintape: %s is nothing that waits: see `twintape queue ls`\n", printable(arg))
				}
			}
			removed, err := l.Dequeue(ctx, ids)
			if err != nil {
				return withCode(err)
			}
			for _, it := range removed {
				if a.json {
					if err := printJSON(out, itemJSON(it)); err != nil {
						return err
					}
				}
			}
			fmt.Fprintf(errOut, "%s taken out of the queue\n", count(len(removed), "item"))
			if stay > 0 {
				return fmt.Errorf("%s could not be taken out, for the reasons above", count(stay, "item"))
			}
			return nil
		},
	}
}

// queuedBy says which items an argument of queue rm names. A pattern is about the items alone, never about what is in them,
// and about none that is archived.
func (a *app) queuedBy(arg string) (ledger.Filter, func(ledger.Item) bool, error) {
	if id, err := strconv.ParseInt(arg, 10, 64); err == nil {
		return ledger.Filter{IDs: []int64{id}}, func(ledger.Item) bool { return true }, nil
	}
	pattern, err := a.ownName(arg)
	if err != nil {
		return ledger.Filter{}, nil, err
	}
	whole := pattern
	switch {
	case strings.HasPrefix(pattern, "/"):
		whole = "*:" + pattern
	case !strings.Contains(pattern, ":/"):
		whole = "*:/**/" + pattern
	}
	fits := func(it ledger.Item) bool {
		ok, err := doublestar.Match(whole, it.Host+":"+it.Path)
		return ok && err == nil // a bad pattern is the ledger's to refuse
	}
	return ledger.Filter{States: append([]ledger.ItemState{ledger.Written}, waiting...), Pattern: pattern}, fits, nil
}

// staysFor tells why an item cannot leave the queue; empty if it can.
func staysFor(it ledger.Item) string {
	switch it.State {
	case ledger.Queued, ledger.Failed:
		return ""
	case ledger.Claimed:
		return fmt.Sprintf("job %d has it, see `twintape jobs show %[1]d`", it.Job)
	}
	return fmt.Sprintf("it is on tape already (%s)", it.State)
}
