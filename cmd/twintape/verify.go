package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"twintape/internal/event"
	"twintape/internal/exitcode"
)

func newVerifyCommand(a *app) *cobra.Command {
	var full bool
	var sample float64
	cmd := &cobra.Command{
		Use:   "verify BARCODE...",
		Short: "Read tapes back, as many at once as there are drives",
		Long: "verify loads tapes and compares label, catalogs and a sample of the items, or with --full every byte, with what\n" +
			"the ledger says. It judges only the tapes named. Exit code 4 says that one did not give back what was written.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, barcode := range args {
				if slices.Contains(args[:i], barcode) {
					return exitcode.With(exitcode.Usage, fmt.Errorf("tape %s is given twice", barcode))
				}
			}
			ctx := cmd.Context()
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			if ar.Sample, err = sampleFlags(cmd, sample, full, ar.Sample); err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			ar.Events = face
			face.Emit(event.Note{Text: "loading and verifying " + strings.Join(args, ", ")})
			reports, err := ar.VerifyTapes(ctx, args)
			face.Close()
			for _, r := range reports {
				switch {
				case r == nil: // could not be judged: err says why
				case a.json:
					err = errors.Join(err, printJSON(cmd.OutOrStdout(), r))
				default:
					printVerified(cmd.OutOrStdout(), r)
				}
			}
			return withCode(err)
		},
	}
	addSampleFlags(cmd, &sample, &full)
	return cmd
}
