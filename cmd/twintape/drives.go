package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newDrivesCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "drives",
		Short: "List the failures of drives and tapes, and which drives are held for them",
		Long: "drives lists failures, the newest first, by the drive's serial number. A drive that failed with two tapes is held, a\n" +
			"tape that failed in two drives is suspect: neither is used again until `twintape drives trust SERIAL` or\n" +
			"`twintape tapes trust BARCODE`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			held, err := l.HeldDrives(ctx)
			if err != nil {
				return err
			}
			faults, err := l.Faults(ctx)
			if err != nil {
				return err
			}
			if limit > 0 && len(faults) > limit {
				faults = faults[:limit]
			}
			t := newTable(cmd.OutOrStdout(), "DRIVE", "STATE", "TAPE", "JOB", "WHEN", "WHAT")
			for _, f := range faults {
				state := "counts"
				switch {
				case held[f.Drive] != "" && f.OpenDrive:
					state = "held"
				case !f.OpenDrive:
					state = "forgiven"
				}
				if a.json {
					err = printJSON(cmd.OutOrStdout(), map[string]any{
						"drive": f.Drive, "held": held[f.Drive] != "", "counts_against_drive": f.OpenDrive, "barcode": f.Barcode,
						"counts_against_tape": f.OpenTape, "job": f.Job, "at": date(f.At), "what": f.What,
					})
				} else {
					err = t.row(printable(f.Drive), state, f.Barcode, fmt.Sprint(f.Job), date(f.At), escaped(f.What))
				}
				if err != nil {
					return err
				}
			}
			return t.flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "list at most so many failures; 0 is all")
	cmd.AddCommand(&cobra.Command{
		Use:   "trust SERIAL",
		Short: "Forgive a drive its failures, once it is mended",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			if err := l.ClearDrive(cmd.Context(), args[0]); errors.Is(err, ledger.ErrNotFound) {
				return exitcode.With(exitcode.Nothing, fmt.Errorf("no failure counts against a drive %q: `twintape drives` lists them", args[0]))
			} else if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "drive %s is used again\n", args[0])
			return nil
		},
	})
	return cmd
}

func newTapesTrustCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "trust BARCODE",
		Short: "Use a suspect tape again, once its failures are explained",
		Long: "trust forgives a tape its failures. Copies on it that do not count stay so: `twintape verify --full` brings them back\n" +
			"if they are good, and the tape with them.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			if err := l.ClearTape(ctx, args[0]); err != nil {
				return withCode(err)
			}
			t, err := l.Tape(ctx, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "tape %s is %s\n", t.Barcode, t.State)
			return nil
		},
	}
}
