package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"twintape/internal/event"
	"twintape/internal/exitcode"
)

func newTapesLabelCommand(a *app) *cobra.Command {
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "label BARCODE",
		Short: "Look what a tape holds, or let it be overwritten",
		Long: "label loads a tape that is known as blank and tells what stands at its beginning. Jobs never overwrite anything. With\n" +
			"--overwrite its owner says that what stands there may go: the next job that chooses the tape writes its own label over\n" +
			"it, unless something else stands there by then. A tape of a pair is never overwritten.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ar, err := a.archiver(cmd.Context(), true, event.Discard)
			if err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			defer face.Close()
			ar.Events = face
			what, err := ar.Contents(cmd.Context(), args[0], overwrite)
			if err != nil {
				return withCode(err)
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"barcode": args[0], "blank": what == "", "holds": what, "may_be_overwritten": overwrite && what != ""})
			}
			switch {
			case what == "":
				what = "is blank"
			case overwrite:
				what = "holds " + what + ": it may be overwritten now"
			default:
				what = "holds " + what
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", args[0], escaped(what))
			return err
		},
	}
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "let what it holds be overwritten")
	return cmd
}

func newTapesCleanCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "clean DRIVE",
		Short: "Clean a drive with a cleaning cartridge (CLN…) of the library",
		Long: "clean loads a cleaning cartridge, whose barcode begins with CLN, into a drive, by its number, waits until the drive has\n" +
			"ejected it, some minutes, and puts it back. What else lies in the drive is put into a slot first.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := strconv.Atoi(args[0])
			if err != nil || number < 0 {
				return exitcode.With(exitcode.Usage, fmt.Errorf("%q is no drive: drives are numbered from 0", args[0]))
			}
			ar, err := a.archiver(cmd.Context(), true, event.Discard)
			if err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			defer face.Close()
			ar.Events = face
			if n := ar.Library.Drives(); number >= n {
				return exitcode.With(exitcode.Usage, fmt.Errorf("there is no drive %d: the library has %d, numbered from 0", number, n))
			}
			if err := ar.Clean(cmd.Context(), number); err != nil {
				return withCode(err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "drive %d is cleaned\n", number)
			return nil
		},
	}
}
