package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/catalog"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newFindCommand(a *app) *cobra.Command {
	var w ledger.Wanted
	var md5, host, since, before string
	var commands bool
	cmd := &cobra.Command{
		Use:   "find [PATTERN]",
		Short: "Where a file is on tape",
		Long: "find looks for files, directories and links on tape by a pattern such as 'pot1:/data/**/visdata', or by the end of a\n" +
			"path, visdata; by their MD5, their host, or when they were modified. With --commands it prints the mt, dd and tar calls that bring each back without twintape, from a\n" +
			"drive and, for a virtual library, from the cartridge's file.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			if len(args) == 0 && md5+host+since+before == "" {
				return exitcode.With(exitcode.Usage, errors.New("give a pattern, --md5, --host, --since or --before"))
			}
			pattern := "/**"
			if len(args) > 0 {
				pattern = args[0]
			}
			err := wanted(&w, onHost(host, pattern), md5, since, before)
			if err != nil {
				return exitcode.With(exitcode.Usage, err)
			}
			if w.Pattern, err = a.ownName(w.Pattern); err != nil {
				return err
			}
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			tapes := make(map[string]ledger.Tape) // by barcode
			for f, err := range l.Find(ctx, w) {
				if err != nil {
					return withCode(err)
				}
				var how []recipe
				if commands && f.Entry.Header > 0 {
					if how, err = a.recipes(ctx, l, tapes, f); err != nil {
						return err
					}
				}
				if a.json {
					err = printJSON(out, foundJSON(f, how))
				} else {
					err = printFound(out, f, how)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&w.Limit, "limit", 0, "list at most so many; 0 is all")
	cmd.Flags().StringVar(&md5, "md5", "", "only files with this MD5")
	cmd.Flags().StringVar(&host, "host", "", "only what comes from this host")
	cmd.Flags().StringVar(&since, "since", "", "only what was modified then or later, UTC: 2026-01-31, or 2026-01-31T12:00:00Z")
	cmd.Flags().StringVar(&before, "before", "", "only what was modified before that")
	cmd.Flags().BoolVar(&commands, "commands", false, "print the commands that bring each member back")
	return cmd
}

// wanted reads what find is to look for.
func wanted(w *ledger.Wanted, pattern, md5, since, before string) (err error) {
	w.Pattern = pattern
	if md5 != "" {
		if w.MD5, err = catalog.ParseMD5(strings.ToLower(md5)); err != nil || w.MD5.IsZero() {
			return fmt.Errorf("--md5 %q is not 32 hexadecimal digits", md5)
		}
	}
	for flag, at := range map[string]struct {
		text string
		time *time.Time
	}{"--since": {since, &w.Since}, "--before": {before, &w.Before}} {
		if at.text == "" {
			continue
		}
		if *at.time, err = time.Parse(time.DateOnly, at.text); err != nil {
			*at.time, err = time.Parse(time.RFC3339, at.text)
		}
		if err != nil {
			return fmt.Errorf("%s %q is neither a day, 2026-01-31, nor a time, 2026-01-31T12:00:00Z", flag, at.text)
		}
	}
	return nil
}

// onHost makes a pattern one of a host's.
func onHost(host, pattern string) string {
	if _, _, named := strings.Cut(pattern, ":/"); host == "" || named {
		return pattern
	}
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/**/" + pattern
	}
	return host + ":" + pattern
}

// recipes are the ways to a member from each good copy.
func (a *app) recipes(ctx context.Context, l *ledger.Ledger, tapes map[string]ledger.Tape, f ledger.Found) ([]recipe, error) {
	var out []recipe
	for _, c := range f.Item.Copies {
		if c.Bad != "" {
			continue
		}
		if tapes[c.Barcode].ID == 0 {
			t, err := l.Tape(ctx, c.Barcode)
			if err != nil {
				return nil, err
			}
			tapes[c.Barcode] = t
		}
		image := filepath.Join(a.cfg.Library.Dir, c.Barcode+".tap")
		out = append(out, newRecipe(f.Entry, c, tapes[c.Barcode], image))
	}
	return out, nil
}

func printFound(out io.Writer, f ledger.Found, how []recipe) error {
	e := f.Entry
	var on []string
	for _, c := range f.Item.Copies {
		on = append(on, fmt.Sprintf("%s (%s)", c.Barcode, proof(c)))
	}
	fmt.Fprintf(out, "%s\n  %s, %s, modified %s", printable(e.Host+":"+e.Path), e.Type, size(e.Size), date(e.MTime))
	if !e.MD5.IsZero() {
		fmt.Fprintf(out, ", md5 %s", e.MD5)
	}
	fmt.Fprintf(out, "\n  on %s\n", strings.Join(on, " and "))
	switch {
	case e.Header == 0:
		fmt.Fprintf(out, "  listed only: a %s has no data on tape\n", e.Type)
	case e.Bad != "":
		fmt.Fprintf(out, "  BAD: %s\n", escaped(e.Bad))
		fallthrough
	default:
		fmt.Fprintf(out, "  archive %d, tape file %d, record %d, offset %d\n", e.Archive, f.Item.Copies[0].TapeFile, e.Record, e.Offset)
	}
	if e.Type == catalog.Hardlink {
		fmt.Fprintf(out, "  a hard link: bring %s back first\n", printable(e.Host+":"+e.Link))
	}
	if len(how) > 0 {
		r := how[0] // twins are alike
		fmt.Fprintf(out, "  # with %s or its twin in a drive:\n  %s\n", r.Barcode, strings.Join(r.Drive, "\n  "))
		if r.Image != "" {
			fmt.Fprintf(out, "  # from the file of the virtual cartridge:\n  %s\n", r.Image)
		}
		if r.Check != "" {
			fmt.Fprintf(out, "  # check it:\n  %s\n", r.Check)
		}
	}
	return nil
}

// proof tells what is known of a copy.
func proof(c ledger.Copy) string {
	switch {
	case c.Bad != "":
		return "BAD: " + escaped(c.Bad)
	case c.Full:
		return "read back in full " + date(c.Verified)
	case !c.Verified.IsZero() && c.Read > 0:
		return "read back in part " + date(c.Verified)
	case !c.Verified.IsZero():
		return "tape verified by a sample " + date(c.Verified)
	}
	return "not verified"
}

func foundJSON(f ledger.Found, how []recipe) map[string]any {
	e := f.Entry
	line := map[string]any{
		"host": e.Host, "type": e.Type, "size": e.Size, "mtime": e.MTime.UTC().Format(time.RFC3339Nano), "item": itemJSON(f.Item),
	}
	putPath(line, "path", e.Path)
	if e.Header > 0 {
		line["archive"], line["record"], line["offset"], line["header"] = e.Archive, e.Record, e.Offset, e.Header
	}
	if !e.MD5.IsZero() {
		line["md5"] = e.MD5
	}
	if e.Bad != "" {
		line["bad"] = e.Bad
	}
	if how != nil {
		line["commands"] = how
	}
	return line
}
