package main

import (
	"errors"

	"github.com/spf13/cobra"

	"twintape/archiver"
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
			ctx := cmd.Context()
			face := newFace(a.log, cmd.ErrOrStderr())
			defer face.Close()
			ar, err := a.archiver(ctx, true, face)
			if err != nil {
				return err
			}
			if ar.Sample, err = sampleFlags(cmd, sample, full, ar.Sample); err != nil {
				return err
			}
			reports, err := ar.VerifyTapes(ctx, args)
			var mismatch *archiver.MismatchError
			if err != nil && !errors.As(err, &mismatch) {
				return withCode(err)
			}
			for _, r := range reports {
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), r); err != nil {
						return err
					}
				} else {
					printVerified(cmd.OutOrStdout(), r)
				}
			}
			return withCode(err)
		},
	}
	addSampleFlags(cmd, &sample, &full)
	return cmd
}
