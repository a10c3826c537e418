package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"twintape/internal/ledger"
)

func newCopiesCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "copies [PATTERN]",
		Short: "List the items with fewer than two verified copies, those with none first",
		Long: "copies lists what lies on tape and is not proven good on two: each item with its copies, and why one does not\n" +
			"count. What waits in the queue is not among them: `twintape queue ls` lists that.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			f := ledger.Filter{States: []ledger.ItemState{ledger.Written}, Limit: limit}
			if len(args) > 0 {
				f.Pattern = args[0]
			}
			t := newTable(cmd.OutOrStdout(), "VERIFIED", "SIZE", "ITEM", "COPIES")
			for it, err := range fewestFirst(cmd.Context(), l, f) {
				if err != nil {
					return withCode(err)
				}
				if a.json {
					err = printJSON(cmd.OutOrStdout(), copiesJSON(it))
				} else {
					var copies []string
					for _, c := range it.Copies {
						copies = append(copies, c.Barcode+" "+copyState(c))
					}
					err = t.row(fmt.Sprint(goodCopies(it)), size(it.Bytes), printable(it.Host+":"+it.Path), escaped(strings.Join(copies, "; ")))
				}
				if err != nil {
					return err
				}
			}
			return t.flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many; 0 is all")
	return cmd
}

// fewestFirst lists items without a verified copy before those with one.
func fewestFirst(ctx context.Context, l *ledger.Ledger, f ledger.Filter) iter.Seq2[ledger.Item, error] {
	return func(yield func(ledger.Item, error) bool) {
		left := f.Limit
		f.Limit = 0
		for verified := range 2 {
			for it, err := range l.Items(ctx, f) {
				if err == nil && goodCopies(it) != verified {
					continue
				}
				if !yield(it, err) || err != nil {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

func goodCopies(it ledger.Item) (n int) {
	for _, c := range it.Copies {
		if c.Bad == "" && !c.Verified.IsZero() {
			n++
		}
	}
	return n
}

func copyState(c ledger.Copy) string {
	switch {
	case c.Bad != "":
		return "does not count: " + c.Bad
	case c.Verified.IsZero():
		return "not verified"
	}
	return "verified " + date(c.Verified)
}

func copiesJSON(it ledger.Item) map[string]any {
	copies := []map[string]any{}
	for _, c := range it.Copies {
		line := map[string]any{"barcode": c.Barcode, "archive": c.Archive, "record": c.Record, "flushed": date(c.Flushed), "good": c.Bad == "" && !c.Verified.IsZero()}
		if !c.Verified.IsZero() {
			line["verified"] = date(c.Verified)
		}
		if c.Bad != "" {
			line["bad"] = c.Bad
		}
		copies = append(copies, line)
	}
	line := map[string]any{"id": it.ID, "host": it.Host, "bytes": it.Bytes, "verified_copies": goodCopies(it), "copies": copies}
	putPath(line, "path", it.Path)
	return line
}
