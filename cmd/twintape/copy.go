package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"twintape/archiver/twin"
	"twintape/internal/event"
	"twintape/internal/exitcode"
)

func newCopyCommand(a *app) *cobra.Command {
	var to string
	var evenIfLast bool
	cmd := &cobra.Command{
		Use:   "copy BARCODE --to BARCODE",
		Short: "Make a new twin of a tape",
		Long: "copy writes what a tape holds onto a blank one, record by record, each checked on the way, and reads the new tape back in\n" +
			"full. Then it takes its place in the pair: a tape that had it is taken out, and retired if it was in use. What the tape\n" +
			"does not give back is read from that one, if it lies in the library; so two damaged tapes make one good one. Until the\n" +
			"new tape was read back nothing on it counts, and copy may be repeated.\n\n" +
			"Exit codes: 0 the pair is whole; 1 failed; 4 the new tape did not give back what was written; 5 a hold is set, or a\n" +
			"run is under way; 6 a tape, drive or library is not available.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return exitcode.With(exitcode.Usage, errors.New("--to is missing: name a blank tape"))
			}
			ctx := cmd.Context()
			if err := a.beginRun(cmd); err != nil {
				return err
			}
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			o := twin.Options{Override: overriding(evenIfLast)}
			face := a.face(cmd.ErrOrStderr())
			ar.Events = face
			face.Emit(event.Note{Text: fmt.Sprintf("making %s a twin of %s", to, args[0])})
			r, err := twin.Copy(ctx, ar, args[0], to, o)
			face.Close()
			a.writeBack(ctx)
			if r != nil {
				err = errors.Join(err, a.printCopy(a.reportTo(cmd.OutOrStdout()), r, err == nil))
			}
			return withCode(err)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the blank tape that becomes the new twin")
	cmd.Flags().BoolVar(&evenIfLast, "even-if-last", false, "also if the tape that it replaces holds what no other does; this is kept in the ledger")
	return cmd
}

func (a *app) printCopy(out io.Writer, r *twin.Report, whole bool) error {
	if a.json {
		line := map[string]any{
			"source": r.Source, "target": r.Target, "whole": whole, "bytes": r.Bytes, "bad_records": r.Bad, "written_seconds": r.Written.Seconds(),
		}
		if r.Replaced != "" {
			line["replaced"] = r.Replaced
		}
		if r.Verified != nil {
			line["verified"] = r.Verified
		}
		return printJSON(out, line)
	}
	fmt.Fprintf(out, "%s of %s written to %s", size(r.Bytes), r.Source, r.Target)
	if r.Written > 0 {
		fmt.Fprintf(out, " in %s (%s)", r.Written.Round(time.Millisecond), rate(r.Bytes, r.Written))
	}
	fmt.Fprintln(out)
	for barcode, n := range r.Bad {
		fmt.Fprintf(out, "  %s did not give back %s\n", barcode, count(int(n), "record"))
	}
	if r.Verified != nil {
		printVerified(out, r.Verified)
	}
	if whole {
		fmt.Fprintf(out, "%s and %s are a pair\n", r.Source, r.Target)
	}
	if r.Replaced != "" {
		fmt.Fprintf(out, "%s was taken out of it: nothing on it counts any more; `twintape tapes recycle %[1]s` makes it blank\n", r.Replaced)
	}
	return nil
}
