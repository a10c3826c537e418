package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/catalog"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newTapesExportCommand(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "export BARCODE",
		Short: "Print a manifest of what is on a tape, for other data managers",
		Long: "export prints a line for each member that is on a tape, in tape order: where it was, its size, time and MD5, and\n" +
			"where it lies. Formats: jsonl (a JSON object a line, with path_b64 where a path is not UTF-8), csv (a head line first;\n" +
			"paths as they are), md5 (as md5sum -c reads it; regular files only). Members that went bad are left out.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			write, ok := manifests[format]
			if !ok {
				return exitcode.With(exitcode.Usage, fmt.Errorf("--format %q: use jsonl, csv or md5", format))
			}
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			if err := exportTape(ctx, l, args[0], write(out)); err != nil {
				return err
			}
			return out.Flush()
		},
	}
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl, csv or md5")
	return cmd
}

// manifests make a writer of lines for each format.
var manifests = map[string]func(out io.Writer) func(e *catalog.Entry, tapeFile int) error{
	"jsonl": func(out io.Writer) func(*catalog.Entry, int) error {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return func(e *catalog.Entry, tapeFile int) error {
			line := map[string]any{
				"host": e.Host, "type": e.Type, "size": e.Size, "mtime": e.MTime.UTC().Format(time.RFC3339Nano), "mode": fmt.Sprintf("%04o", e.Mode),
				"archive": e.Archive, "tape_file": tapeFile, "record": e.Record, "offset": e.Offset,
			}
			putPath(line, "path", e.Path)
			if !e.MD5.IsZero() {
				line["md5"] = e.MD5.String()
			}
			if e.Link != "" {
				putPath(line, "link", e.Link)
			}
			return enc.Encode(line)
		}
	},
	"csv": func(out io.Writer) func(*catalog.Entry, int) error {
		w := csv.NewWriter(out)
		first := true
		return func(e *catalog.Entry, tapeFile int) error {
			if first {
				first = false
				if err := w.Write([]string{"host", "path", "type", "size", "mtime", "mode", "md5", "archive", "tape_file", "record", "offset", "link"}); err != nil {
					return err
				}
			}
			sum := ""
			if !e.MD5.IsZero() {
				sum = e.MD5.String()
			}
			err := w.Write([]string{
				e.Host, e.Path, string(e.Type), strconv.FormatInt(e.Size, 10), e.MTime.UTC().Format(time.RFC3339Nano), fmt.Sprintf("%04o", e.Mode),
				sum, strconv.Itoa(e.Archive), strconv.Itoa(tapeFile), strconv.FormatInt(e.Record, 10), strconv.Itoa(e.Offset), e.Link,
			})
			w.Flush()
			if err == nil {
				err = w.Error()
			}
			return err
		}
	},
	"md5": func(out io.Writer) func(*catalog.Entry, int) error {
		return func(e *catalog.Entry, _ int) error {
			if e.Type != catalog.File {
				return nil
			}
			one := catalog.Archive{Items: []catalog.Item{{Entries: []catalog.Entry{*e}}}}
			_, err := out.Write(one.SumsText())
			return err
		}
	},
}

// exportTape gives each good member on a tape to write, in tape order.
func exportTape(ctx context.Context, l *ledger.Ledger, barcode string, write func(*catalog.Entry, int) error) error {
	t, err := l.Tape(ctx, barcode)
	if err != nil || t.Pair == "" {
		return err
	}
	sessions, err := l.Sessions(ctx, t.Pair)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		for archive, err := range l.Entries(ctx, s.ID, t.Side) {
			if err != nil {
				return err
			}
			for i := range archive.Items {
				it := &archive.Items[i]
				for k := range it.Entries {
					e := &it.Entries[k]
					if it.Bad != "" || e.Bad != "" || !e.Type.OnTape() {
						continue
					}
					if err := write(e, archive.TapeFile); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
