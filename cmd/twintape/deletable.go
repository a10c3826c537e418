package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newDeletableCommand(a *app) *cobra.Command {
	var zero bool
	cmd := &cobra.Command{
		Use:   "deletable [PATTERN]",
		Short: "List what may be cleared from the hosts",
		Long: "deletable lists the items that are read back from two tapes to the depth of verify.deletable_after, after comparing\n" +
			"each with what was archived once more: what differs now is named on stderr and not listed. What is cleared already\n" +
			"is only counted. twintape itself deletes nothing.\n\n" +
			"Exit codes: 0 listed, also if nothing is; 6 a host could not be asked, so that its items are not listed.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			ar, err := a.archiver(ctx, false, event.Discard)
			if err != nil {
				return err
			}
			pattern := ""
			if len(args) > 0 {
				pattern = args[0]
			}
			var cleared, unknown int
			for it, err := range ar.Deletable(ctx, pattern) {
				switch {
				case err == nil:
					err = a.printDeletable(cmd.OutOrStdout(), it, zero)
				case it.ID == 0:
				case errors.Is(err, archiver.ErrCleared):
					cleared++
					continue
				default:
					fmt.Fprintln(cmd.ErrOrStderr(), "twintape: not listed: "+escaped(err.Error()))
					if exitcode.Of(withCode(err)) == exitcode.Unavailable {
						unknown++
					}
					continue
				}
				if err != nil {
					return withCode(err)
				}
			}
			if cleared > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s cleared already\n", count(cleared, "item"))
			}
			if unknown > 0 {
				return exitcode.With(exitcode.Unavailable, fmt.Errorf("%s could not be compared with the host", count(unknown, "item")))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&zero, "null", "0", false, "end each path with a NUL instead of a newline, unquoted, as xargs -0 takes it")
	return cmd
}

func (a *app) printDeletable(out io.Writer, it ledger.Item, zero bool) (err error) {
	path := it.Host + ":" + it.Path
	switch {
	case a.json:
		line := map[string]any{"id": it.ID, "host": it.Host, "bytes": it.Bytes}
		putPath(line, "path", it.Path)
		return printJSON(out, line)
	case zero:
		_, err = io.WriteString(out, path+"\x00")
	default:
		_, err = fmt.Fprintln(out, printable(path))
	}
	return err
}
