package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/ledger"
)

func newFindCommand(a *app) *cobra.Command {
	var limit int
	var commands bool
	cmd := &cobra.Command{
		Use:   "find PATTERN",
		Short: "Where a file is on tape",
		Long: "find looks for members on tape by a pattern such as 'pot1:/data/**/visdata', or the end of a path: visdata.\n" +
			"With --commands it prints the mt, dd and tar calls that bring a member back without twintape.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			for f, err := range l.Find(cmd.Context(), args[0], limit) {
				if err != nil {
					return err
				}
				if a.json {
					err = printJSON(cmd.OutOrStdout(), foundJSON(f))
				} else {
					err = a.printFound(cmd, f, commands)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many")
	cmd.Flags().BoolVar(&commands, "commands", false, "print the commands that bring each member back")
	return cmd
}

func (a *app) printFound(cmd *cobra.Command, f ledger.Found, commands bool) error {
	e, first := f.Entry, f.Item.Copies[0] // only items with copies are found
	var on []string
	for _, c := range f.Item.Copies {
		note := "not verified"
		switch {
		case c.Bad != "":
			note = "BAD"
		case c.Full:
			note = "read in full"
		case !c.Verified.IsZero():
			note = "verified"
		}
		on = append(on, fmt.Sprintf("%s (%s)", c.Barcode, note))
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s  %s  %s  %s  tape file %d, record %d + %d bytes\n", printable(e.Host+":"+e.Path), size(e.Size), e.MD5,
		strings.Join(on, ", "), first.TapeFile, e.Record, e.Offset)
	if !commands {
		return nil
	}
	l, err := a.ledger(cmd.Context())
	if err != nil {
		return err
	}
	t, err := l.Tape(cmd.Context(), first.Barcode)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  mt -f /dev/nst0 setblk 0 && mt -f /dev/nst0 asf %d && tar -b %d -xf /dev/nst0 %s\n", first.TapeFile,
		t.RecordSize/512, shellQuote(e.Host+e.Path))
	return nil
}

func foundJSON(f ledger.Found) map[string]any {
	e := f.Entry
	line := map[string]any{
		"host": e.Host, "type": e.Type, "size": e.Size, "mtime": e.MTime.Format(time.RFC3339Nano), "md5": e.MD5,
		"archive": e.Archive, "record": e.Record, "offset": e.Offset, "header": e.Header, "item": itemJSON(f.Item),
	}
	putPath(line, "path", e.Path)
	if e.Bad != "" {
		line["bad"] = e.Bad
	}
	return line
}

// shellQuote makes one word of a name for sh and bash; bytes that a terminal could mistake are written as $'…' has them.
func shellQuote(name string) string {
	var b strings.Builder
	b.WriteString("$'")
	plain := true
	for i := range len(name) {
		switch c := name[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
			plain = false
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\x%02x", c)
			plain = false
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	if plain {
		return "'" + name + "'"
	}
	return b.String()
}
