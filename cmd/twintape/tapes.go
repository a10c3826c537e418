package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

func newTapesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tapes",
		Short: "List the cartridges",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.ledger(cmd.Context())
			if err != nil {
				return err
			}
			tapes, err := l.Tapes(cmd.Context())
			if err != nil {
				return err
			}
			twins := make(map[string]string) // by pair and side
			for _, t := range tapes {
				twins[fmt.Sprint(t.Pair, t.Side)] = t.Barcode
			}
			rows := newTable(cmd.OutOrStdout(), "BARCODE", "STATE", "USED", "CAPACITY", "WRITTEN", "TWIN", "NOTE")
			for _, t := range tapes {
				twin, used := "-", "-"
				if t.Pair != "" {
					twin, used = twins[fmt.Sprint(t.Pair, 3-t.Side)], size(t.Used)
				}
				written := date(t.Written)
				if written == "" {
					written = "-"
				}
				if a.json {
					err = printJSON(cmd.OutOrStdout(), tapeJSON(t))
				} else {
					err = rows.row(t.Barcode, string(t.State), used, size(t.Capacity), written, twin, escaped(tapeNote(t)))
				}
				if err != nil {
					return err
				}
			}
			return rows.flush()
		},
	}
	cmd.AddCommand(newTapesShowCommand(a), newTapesAddCommand(a), newTapesLabelCommand(a), newTapesRetireCommand(a), newTapesRecycleCommand(a),
		newTapesTrustCommand(a), newTapesCleanCommand(a), newTapesExportCommand(a))
	return cmd
}

// tapeNote is what there is to say of a tape beside its state.
func tapeNote(t ledger.Tape) string {
	var notes []string
	if t.WrittenBy != "" {
		notes = append(notes, "written by "+t.WrittenBy)
	}
	if t.Why != "" {
		notes = append(notes, t.Why)
	}
	if t.Diverged {
		notes = append(notes, "its twin does not hold the same")
	}
	if t.Full {
		notes = append(notes, "full")
	}
	return strings.Join(notes, "; ")
}

func tapeJSON(t ledger.Tape) map[string]any {
	line := map[string]any{"barcode": t.Barcode, "state": t.State, "capacity": t.Capacity, "used": t.Used, "full": t.Full, "diverged": t.Diverged}
	if t.Pair != "" {
		line["uuid"], line["pair"], line["side"], line["record_size"] = t.UUID, t.Pair, t.Side, t.RecordSize
		line["written"] = t.Written.UTC().Format(time.RFC3339)
	}
	if t.WrittenBy != "" {
		line["written_by"] = t.WrittenBy
	}
	if t.Serial != "" {
		line["serial"] = t.Serial
	}
	if t.Why != "" {
		line["why"] = t.Why
	}
	return line
}

func newTapesAddCommand(a *app) *cobra.Command {
	var capacity string
	cmd := &cobra.Command{
		Use:   "add BARCODE...",
		Short: "Register blank cartridges; a virtual library gets new ones",
		Long: "add makes cartridges of the library known to the ledger as blank tapes. A virtual library gets a new cartridge for\n" +
			"each barcode that it does not hold. A drive looks at a tape before it is written: one that holds data is refused.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseCapacity(capacity)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			cfg, err := a.config()
			if err != nil {
				return err
			}
			lib, err := a.library(ctx)
			if err != nil {
				return err
			}
			l, err := a.ledger(ctx)
			if err != nil {
				return err
			}
			var faults error
			for _, barcode := range args {
				holds, err := cartridge(ctx, lib, barcode, n)
				if err == nil {
					_, err = l.AddTape(ctx, ledger.Tape{Barcode: barcode, Capacity: holds})
				}
				if err != nil {
					faults = errors.Join(faults, err)
					continue
				}
				t, err := l.Tape(ctx, barcode)
				if err != nil {
					return err
				}
				if a.json {
					if err := printJSON(cmd.OutOrStdout(), tapeJSON(t)); err != nil {
						return err
					}
				} else {
					of := ""
					if t.Capacity > 0 {
						of = " of " + size(t.Capacity)
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "%s is known as a blank tape%s\n", t.Barcode, of)
				}
				if !matchesAny(cfg.Archive.Sides[:], barcode) {
					fmt.Fprintf(cmd.ErrOrStderr(), "twintape: %s fits no pattern of archive.sides (%v): no job will choose it\n", barcode, cfg.Archive.Sides)
				}
			}
			return faults
		},
	}
	addCapacityFlag(cmd, &capacity)
	return cmd
}

// cartridge makes sure that a cartridge is in the library, a new one if it is virtual, and returns its capacity in bytes, 0 where
// only a drive can tell.
func cartridge(ctx context.Context, lib tape.Library, barcode string, capacity int64) (int64, error) {
	switch {
	case !virtual.ValidBarcode(barcode):
		return 0, exitcode.With(exitcode.Usage, fmt.Errorf("%q is no barcode: letters, digits, - and _", barcode))
	case tape.Cleaning(barcode):
		return 0, exitcode.With(exitcode.Usage, fmt.Errorf("%s is a cleaning cartridge: nothing can be written to it", barcode))
	}
	if v, ok := lib.(*virtual.Library); ok {
		if _, err := v.Capacity(barcode); err != nil { // it does not hold it
			if err := v.AddCartridge(barcode, capacity); err != nil {
				return 0, err
			}
		}
		return v.Capacity(barcode)
	}
	elements, err := tape.LimitedChanger(lib.Changer()).Inventory(ctx)
	if err != nil {
		return 0, withCode(err)
	}
	if !slices.ContainsFunc(elements, func(e tape.Element) bool { return e.Barcode == barcode }) {
		return 0, exitcode.With(exitcode.Unavailable, fmt.Errorf("no cartridge %s is in the library: bring it in; `library.media_suffix` says whether "+
			"barcodes end with the medium, as L5", barcode))
	}
	return 0, nil
}

func matchesAny(patterns []string, barcode string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, barcode); ok && err == nil {
			return true
		}
	}
	return false
}
