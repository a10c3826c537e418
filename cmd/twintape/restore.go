package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"twintape/archiver/restore"
	"twintape/internal/event"
	"twintape/internal/exitcode"
)

func newRestoreCommand(a *app) *cobra.Command {
	var o restore.Options
	cmd := &cobra.Command{
		Use:   "restore 'HOST:/PATH'... --to DIR",
		Short: "Bring back what was archived",
		Long: "restore brings what matches, and what lies below it, to DIR/host/absolute/path, with modes, times, links and, as\n" +
			"root, owners. Every file's MD5 is checked before it gets its name; what one tape does not give back is read from its\n" +
			"twin. Each tape is loaded once, and two drives read at once where they can. What is there already is not read\n" +
			"again, so a run that ended early is simply repeated; nothing that differs is replaced without --overwrite.\n\n" +
			"Exit codes: 0 everything is there; 1 some of it is not; 3 nothing on tape matches; 4 no tape gave some of it back;\n" +
			"6 tapes are missing from the library.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.To == "" {
				return exitcode.With(exitcode.Usage, errors.New("--to is missing: name the folder to restore to"))
			}
			if host, _, ok := strings.Cut(o.To, ":/"); ok && !strings.Contains(host, "/") {
				return exitcode.With(exitcode.Usage, fmt.Errorf("--to %s: restore to a folder of this machine, and copy from there", o.To))
			}
			dir, err := filepath.Abs(o.To)
			if err != nil {
				return err
			}
			o.To = dir
			for _, arg := range args {
				pattern, err := a.ownName(arg)
				if err != nil {
					return err
				}
				o.Patterns = append(o.Patterns, pattern)
			}
			ctx := cmd.Context()
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			ar.Events = face
			report, err := restore.Restore(ctx, ar, o)
			face.Close()
			if errors.Is(err, restore.ErrNothing) {
				return exitcode.With(exitcode.Nothing, err)
			}
			if a.json {
				err = errors.Join(err, printJSON(cmd.OutOrStdout(), restoredJSON(report)))
			} else {
				a.tellRestored(cmd, report, dir)
			}
			return restoredCode(report, withCode(err))
		},
	}
	cmd.Flags().StringVar(&o.To, "to", "", "folder to restore to")
	cmd.Flags().StringVar(&o.Tape, "tape", "", "read only this tape")
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "replace files that are there and differ")
	return cmd
}

func restoredJSON(r *restore.Report) map[string]any {
	list := func(all []restore.Failed) []map[string]any {
		out := []map[string]any{}
		for _, f := range all {
			line := map[string]any{"host": f.Host, "reason": f.Reason}
			putPath(line, "path", f.Path)
			out = append(out, line)
		}
		return out
	}
	return map[string]any{
		"files": r.Files, "bytes": r.Bytes, "folders": r.Folders, "links": r.Links, "already": r.Already,
		"failed": list(r.Failed), "lacking": list(r.Lacking), "suspect": r.Suspect, "absent": r.Absent,
	}
}

func (a *app) tellRestored(cmd *cobra.Command, r *restore.Report, dir string) {
	fmt.Fprintf(cmd.OutOrStdout(), "restored to %s: %s (%s), %s, %s", printable(dir), count(int(r.Files), "file"), size(r.Bytes), count(int(r.Folders), "folder"), count(int(r.Links), "link"))
	if r.Already > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "; %d were there already", r.Already)
	}
	fmt.Fprintln(cmd.OutOrStdout())
	for _, f := range r.Lacking {
		fmt.Fprintf(cmd.ErrOrStderr(), "twintape: %s: %s\n", printable(f.Host+":"+f.Path), escaped(f.Reason))
	}
	for _, f := range r.Failed {
		fmt.Fprintf(cmd.ErrOrStderr(), "twintape: not restored: %s: %s\n", printable(f.Host+":"+f.Path), escaped(f.Reason))
	}
	for _, barcode := range r.Suspect {
		fmt.Fprintf(cmd.ErrOrStderr(), "twintape: tape %s did not give back what was written: none of its copies counts before `twintape verify --full %s` is good\n", barcode, barcode)
	}
}

// restoredCode gives what was not restored its exit code.
func restoredCode(r *restore.Report, err error) error {
	if err != nil || len(r.Failed) == 0 {
		return err
	}
	failed := fmt.Errorf("%s not restored", count(len(r.Failed), "path"))
	switch {
	case len(r.Absent) > 0:
		return exitcode.With(exitcode.Unavailable, fmt.Errorf("%w: bring %s into the library, then run it again", failed, strings.Join(r.Absent, ", ")))
	case len(r.Suspect) > 0:
		return exitcode.With(exitcode.Mismatch, failed)
	}
	return exitcode.With(exitcode.Failed, failed)
}
