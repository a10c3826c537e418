package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/verify"
)

func newVerifyCommand(a *app) *cobra.Command {
	var full, due bool
	var sample float64
	var scrub archiver.Scrub
	cmd := &cobra.Command{
		Use:   "verify BARCODE... | --due",
		Short: "Read tapes back, as many at once as there are drives",
		Long: "verify loads tapes and compares label, catalogs and a sample of the items, or with --full every byte, with what\n" +
			"the ledger says. It judges only the tapes named. With --due it takes the tapes that were verified longest ago, and reads\n" +
			"their first and last items and a sample between (1 % unless --sample says otherwise), as far as the time allows.\n\n" +
			"Exit codes: 0 good; 1 failed, or a tape wears out; 3 nothing is due; 4 a tape did not give back what was written;\n" +
			"5 a run has the library.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case due == (len(args) > 0):
				return exitcode.With(exitcode.Usage, errors.New("name the tapes, or say --due; see `twintape verify --help`"))
			case due && full:
				return exitcode.With(exitcode.Usage, errors.New("--due reads samples: name the tapes that are to be read in full"))
			case due && (scrub.Most < 1 || scrub.Limit <= 0):
				return exitcode.With(exitcode.Usage, errors.New("--max and --limit-time must be above 0"))
			}
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
			if due {
				ar.Sample = scrubSample
			}
			if ar.Sample, err = sampleFlags(cmd, sample, full, ar.Sample); err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			ar.Events = face
			var reports []*verify.Report
			if due {
				reports, err = ar.VerifyDue(ctx, scrub)
			} else {
				face.Emit(event.Note{Text: "loading and verifying " + strings.Join(args, ", ")})
				reports, err = ar.VerifyTapes(ctx, args)
			}
			face.Close()
			a.writeBack(ctx)
			if due && err == nil && len(reports) == 0 {
				return exitcode.With(exitcode.Nothing, errors.New("no tape in the library holds anything that could be verified"))
			}
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
	cmd.Flags().BoolVar(&due, "due", false, "take the tapes in the library that were verified longest ago")
	cmd.Flags().IntVar(&scrub.Most, "max", 2, "with --due: at most so many tapes")
	cmd.Flags().DurationVar(&scrub.Limit, "limit-time", 2*time.Hour, "with --due: about how long reading a tape may take")
	return cmd
}

// scrubSample is the fraction of a tape's items that --due reads: a few, often.
const scrubSample = 0.01
