package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/ledger"
)

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
			health, err := l.TapeHealth(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			overrides, err := l.Overrides(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), contentsJSON(c, history, health, overrides))
			}
			printContents(cmd.OutOrStdout(), c, history, items)
			printHealth(cmd.OutOrStdout(), health)
			for _, o := range overrides {
				fmt.Fprintf(cmd.OutOrStdout(), "overridden %s by %s: it was %s\n", date(o.At), escaped(o.Who), escaped(o.What))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&items, "items", false, "list every item")
	return cmd
}

func printContents(out io.Writer, c ledger.Contents, history []ledger.Verification, items bool) {
	t := c.Tape
	fmt.Fprintf(out, "%s: %s, %s of %s used\n", t.Barcode, t.State, size(t.Used), size(t.Capacity))
	if note := tapeNote(t); note != "" {
		fmt.Fprintf(out, "because %s\n", escaped(note))
	}
	if t.Pair == "" {
		printHistory(out, history)
		return
	}
	fmt.Fprintf(out, "volume %s, pair %s, side %d, records of %d bytes\n", t.UUID, t.Pair, t.Side, t.RecordSize)
	for _, s := range c.Sessions {
		fmt.Fprintf(out, "session %d (%s), job %d: ", s.Number, s.UUID, s.Job)
		switch {
		case s.Closed.IsZero():
			fmt.Fprintln(out, "not closed by a catalog")
		case !s.On[t.Side-1]:
			fmt.Fprintln(out, "its catalog is on the twin alone")
		default:
			fmt.Fprintf(out, "closed %s, catalog in tape file %d at record %d\n", date(s.Closed), s.Catalog.TapeFile, s.Catalog.Record)
		}
		for _, ar := range s.Archives {
			state := ""
			switch {
			case !ar.Flushed:
				state = ", planned only"
			case !ar.On[t.Side-1]:
				state = ", on the twin alone"
			}
			fmt.Fprintf(out, "  archive %d: tape file %d, records %d to %d, %s, %s%s\n", ar.Number, ar.TapeFile, ar.Record,
				ar.Record+ar.Records-1, count(len(ar.Items), "item"), size(ar.Bytes), state)
			for _, it := range ar.Items {
				name := printable(it.Host + ":" + it.Path)
				switch {
				case it.Bad != "":
					fmt.Fprintf(out, "    %s, %s: no copy: %s\n", name, size(it.Bytes), escaped(it.Bad))
				case items:
					fmt.Fprintf(out, "    %s, %s, record %d\n", name, size(it.Bytes), it.Record)
				}
			}
		}
	}
	printHistory(out, history)
}

func printHistory(out io.Writer, history []ledger.Verification) {
	for _, v := range history {
		fmt.Fprintf(out, "verified %s: %s\n", date(v.Ended), verificationText(v))
	}
}

// verificationText tells what one verification read and found.
func verificationText(v ledger.Verification) string {
	verdict := "good"
	if !v.Good {
		verdict = "NOT GOOD: " + escaped(v.Reason)
	}
	how := fmt.Sprintf("a sample of %.4g %%, seed %d", 100*v.Sample, v.Seed)
	if v.Sample >= 1 {
		how = "a full check"
	}
	if v.Retried > 0 {
		how += fmt.Sprintf(", %d records at the second attempt", v.Retried)
	}
	return fmt.Sprintf("%s on %s read %s of %s in %s (%s): %s", v.Barcode, v.Drive, size(v.BytesRead), size(v.BytesTotal),
		took(v.Ended.Sub(v.Began)), how, verdict)
}

func contentsJSON(c ledger.Contents, history []ledger.Verification, health []ledger.Health, overrides []ledger.Override) map[string]any {
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
				"flushed": ar.Flushed, "on_this_tape": ar.On[c.Tape.Side-1], "items": items,
			})
		}
		line := map[string]any{"number": s.Number, "session": s.UUID, "job": s.Job, "archives": archives}
		if !s.Closed.IsZero() {
			line["closed"] = s.Closed.UTC().Format(time.RFC3339)
			line["catalog_on_this_tape"] = s.On[c.Tape.Side-1]
			line["catalog"] = map[string]any{
				"tape_file": s.Catalog.TapeFile, "record": s.Catalog.Record, "records": s.Catalog.Records, "md5": s.Catalog.MD5,
			}
		}
		sessions = append(sessions, line)
	}
	log := []map[string]any{}
	for _, o := range overrides {
		log = append(log, map[string]any{"at": date(o.At), "who": o.Who, "what": o.What})
	}
	return map[string]any{
		"tape": tapeJSON(c.Tape), "sessions": sessions, "verifications": verificationsJSON(history), "health": healthJSON(health), "overrides": log,
	}
}

func verificationsJSON(history []ledger.Verification) []map[string]any {
	out := []map[string]any{}
	for _, v := range history {
		line := map[string]any{
			"barcode": v.Barcode, "began": v.Began.UTC().Format(time.RFC3339), "ended": v.Ended.UTC().Format(time.RFC3339), "drive": v.Drive,
			"seed": v.Seed, "sample": v.Sample, "good": v.Good, "bytes_read": v.BytesRead, "bytes_total": v.BytesTotal, "retried": v.Retried,
		}
		if v.Job != 0 {
			line["job"] = v.Job
		}
		if v.Reason != "" {
			line["reason"] = v.Reason
		}
		out = append(out, line)
	}
	return out
}
