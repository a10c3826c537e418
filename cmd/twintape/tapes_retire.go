package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"twintape/internal/ledger"
)

const evenIfLastHelp = "also if items need their copies on it; this is kept in the ledger"

func newTapesRetireCommand(a *app) *cobra.Command {
	var why string
	var evenIfLast bool
	cmd := &cobra.Command{
		Use:   "retire BARCODE",
		Short: "Take a tape out of use",
		Long: "retire lets no job choose a tape again, and no copy on it counts any more, until a `verify --full` of it is good. It\n" +
			"refuses a tape that holds an item's only copy, or one of two verified ones: make a new twin first (`twintape copy`),\n" +
			"or say --even-if-last.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			if err := l.Retire(cmd.Context(), args[0], why, overriding(evenIfLast)); err != nil {
				return withCode(advised(err, args[0]))
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "tape %s is %s\n", args[0], ledger.TapeRetired)
			return nil
		},
	}
	cmd.Flags().StringVar(&why, "why", "retired by its owner", "the reason, kept in the ledger")
	cmd.Flags().BoolVar(&evenIfLast, "even-if-last", false, evenIfLastHelp)
	return cmd
}

func newTapesRecycleCommand(a *app) *cobra.Command {
	var evenIfLast bool
	cmd := &cobra.Command{
		Use:   "recycle BARCODE",
		Short: "Give up what a tape holds, and make it blank",
		Long: "recycle forgets a tape's copies, its label and its pair: it is blank again, and the next job that chooses it writes over\n" +
			"it. Nothing is written now. It refuses a tape that holds an item's only copy, or one of two verified ones, unless\n" +
			"--even-if-last says so; items whose last copy that was are forgotten too.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			n, err := l.Recycle(cmd.Context(), args[0], overriding(evenIfLast))
			if err != nil {
				return withCode(advised(err, args[0]))
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "tape %s is %s\n", args[0], ledger.TapeBlank)
			if n > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s forgotten: they had no other copy\n", count(n, "item"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&evenIfLast, "even-if-last", false, evenIfLastHelp)
	return cmd
}

// overriding is who does it all the same; nobody if that was not said.
func overriding(evenIfLast bool) string {
	if !evenIfLast {
		return ""
	}
	return thisUser()
}

// advised adds what to do instead.
func advised(err error, barcode string) error {
	if errors.Is(err, ledger.ErrLastCopy) {
		return fmt.Errorf("%w; make a new twin first (`twintape copy`), or give up what %s holds with --even-if-last", err, barcode)
	}
	return err
}
