package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/ledger"
)

func newTapesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tapes",
		Short: "List the cartridges",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			tapes, err := l.Tapes(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, t := range tapes {
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), tapeJSON(t)); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(w, "%s\t%s\t%s of %s\t%s\n", t.Barcode, t.State, size(t.Used), size(t.Capacity), date(t.Written))
			}
			return w.Flush()
		},
	}
	cmd.AddCommand(newTapesShowCommand(a), newTapesAddCommand(a), newTapesRetireCommand(a))
	return cmd
}

func tapeJSON(t ledger.Tape) map[string]any {
	line := map[string]any{"barcode": t.Barcode, "state": t.State, "capacity": t.Capacity, "used": t.Used}
	if t.Pair != "" {
		line["uuid"], line["pair"], line["side"], line["record_size"] = t.UUID, t.Pair, t.Side, t.RecordSize
		line["written"] = t.Written.Format(time.RFC3339)
	}
	if t.Serial != "" {
		line["serial"] = t.Serial
	}
	return line
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func newTapesShowCommand(a *app) *cobra.Command {
	var items bool
	cmd := &cobra.Command{
		Use:   "show BARCODE",
		Short: "Show what is on a tape, and how it was verified",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			c, err := l.Contents(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			history, err := l.Verifications(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), contentsJSON(c, history))
			}
			printContents(cmd.OutOrStdout(), c, history, items)
			return nil
		},
	}
	cmd.Flags().BoolVar(&items, "items", false, "list every item")
	return cmd
}

func printContents(out io.Writer, c ledger.Contents, history []ledger.Verification, items bool) {
	t := c.Tape
	fmt.Fprintf(out, "%s: %s, %s of %s\n", t.Barcode, t.State, size(t.Used), size(t.Capacity))
	if t.Pair == "" {
		return
	}
	fmt.Fprintf(out, "volume %s, pair %s, side %d, records of %s\n", t.UUID, t.Pair, t.Side, size(int64(t.RecordSize)))
	for _, s := range c.Sessions {
		fmt.Fprintf(out, "session %d (%s), job %d: ", s.Number, s.UUID, s.Job)
		if s.Closed.IsZero() {
			fmt.Fprintln(out, "not closed by a catalog")
		} else {
			fmt.Fprintf(out, "closed %s, catalog in tape file %d at record %d\n", date(s.Closed), s.Catalog.TapeFile, s.Catalog.Record)
		}
		for _, ar := range s.Archives {
			state := ""
			if !ar.Flushed {
				state = ", planned only"
			}
			fmt.Fprintf(out, "  archive %d: tape file %d, records %d to %d, %d items, %s%s\n", ar.Number, ar.TapeFile, ar.Record,
				ar.Record+ar.Records-1, len(ar.Items), size(ar.Bytes), state)
			for _, it := range ar.Items {
				if items || it.Bad != "" {
					fmt.Fprintf(out, "    %s  %s  %s\n", printable(it.Host+":"+it.Path), size(it.Bytes), printable(it.Bad))
				}
			}
		}
	}
	for _, v := range history {
		verdict := "good"
		if !v.Good {
			verdict = "NOT GOOD: " + printable(v.Reason)
		}
		fmt.Fprintf(out, "verified %s on %s: %s of %s read (sample %g, seed %d): %s\n", date(v.Ended), v.Drive, size(v.BytesRead),
			size(v.BytesTotal), v.Sample, v.Seed, verdict)
	}
}

func contentsJSON(c ledger.Contents, history []ledger.Verification) map[string]any {
	sessions := []map[string]any{}
	for _, s := range c.Sessions {
		archives := []map[string]any{}
		for _, ar := range s.Archives {
			items := []map[string]any{}
			for _, it := range ar.Items {
				line := map[string]any{"id": it.ID, "host": it.Host, "record": it.Record, "members": it.Members, "bytes": it.Bytes}
				putPath(line, "path", it.Path)
				if it.Bad != "" {
					line["bad"] = it.Bad
				}
				items = append(items, line)
			}
			archives = append(archives, map[string]any{
				"number": ar.Number, "tape_file": ar.TapeFile, "record": ar.Record, "records": ar.Records, "bytes": ar.Bytes,
				"flushed": ar.Flushed, "items": items,
			})
		}
		line := map[string]any{"number": s.Number, "session": s.UUID, "job": s.Job, "archives": archives}
		if !s.Closed.IsZero() {
			line["closed"] = s.Closed.Format(time.RFC3339)
			line["catalog"] = map[string]any{
				"tape_file": s.Catalog.TapeFile, "record": s.Catalog.Record, "records": s.Catalog.Records, "md5": s.Catalog.MD5,
			}
		}
		sessions = append(sessions, line)
	}
	verifications := []map[string]any{}
	for _, v := range history {
		verifications = append(verifications, map[string]any{
			"began": v.Began.Format(time.RFC3339), "ended": v.Ended.Format(time.RFC3339), "drive": v.Drive, "seed": v.Seed,
			"sample": v.Sample, "good": v.Good, "reason": v.Reason, "bytes_read": v.BytesRead, "bytes_total": v.BytesTotal,
		})
	}
	return map[string]any{"tape": tapeJSON(c.Tape), "sessions": sessions, "verifications": verifications}
}

func newTapesAddCommand(a *app) *cobra.Command {
	var capacity string
	cmd := &cobra.Command{
		Use:   "add BARCODE...",
		Short: "Register blank cartridges; a virtual library gets new ones",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseCapacity(capacity)
			if err != nil {
				return err
			}
			lib, err := a.library()
			if err != nil {
				return err
			}
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			for _, barcode := range args {
				if _, err := lib.Capacity(barcode); err != nil {
					if err := lib.AddCartridge(barcode, n); err != nil {
						return err
					}
				}
				holds, err := lib.Capacity(barcode)
				if err != nil {
					return err
				}
				if _, err := l.AddTape(cmd.Context(), ledger.Tape{Barcode: barcode, Capacity: holds}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addCapacityFlag(cmd, &capacity)
	return cmd
}

func newTapesRetireCommand(a *app) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use:   "retire BARCODE",
		Short: "Never choose a tape again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			t, err := l.Tape(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if t.State != ledger.TapeBlank {
				return fmt.Errorf("tape %s is %s: only blank tapes can be retired, others may hold an item's only copies", t.Barcode, t.State)
			}
			return withCode(l.SetTapeState(cmd.Context(), t.Barcode, ledger.TapeRetired, why))
		},
	}
	cmd.Flags().StringVar(&why, "why", "retired by its owner", "the reason, kept in the ledger")
	return cmd
}
