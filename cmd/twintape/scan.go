package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/archiver/scan"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
)

func newScanCommand(a *app) *cobra.Command {
	var o scan.Options
	cmd := &cobra.Command{
		Use:   "scan BARCODE...",
		Short: "Rebuild the ledger from tapes",
		Long: "scan reads labels and catalogs of tapes, minutes for each, and brings tapes, pairs, sessions, archives, items and\n" +
			"their members' checksums into the ledger, which it makes if there is none. What the ledger knows already is compared\n" +
			"and left as it is; every difference is told. Copies come back unverified. With --deep archives that belong to no\n" +
			"readable catalog are read from their beginning to their end. A tape of paper-dump, whose catalog has neither members\n" +
			"nor places, is always read from its beginning to its end, which takes as long as a full check. A BARCODE may be a\n" +
			"pattern such as 'PAPR*', over the cartridges in the library. Nothing is written to any tape.\n\n" +
			"Exit codes: 0 all were taken in; 1 one was not; 4 a tape and the ledger do not agree, or a tape of paper-dump does not\n" +
			"give back all that it should hold.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := a.ledgerOrNew(ctx); err != nil {
				return err
			}
			ar, err := a.archiver(ctx, true, event.Discard)
			if err != nil {
				return err
			}
			face := newFace(a.log, cmd.ErrOrStderr())
			ar.Events = face
			var failed, printing error
			differ, lacking := false, false
			err = scan.Tapes(ctx, ar, args, o, func(r *scan.Report) {
				failed = errors.Join(failed, failure(r))
				lacking = lacking || r.Lacking
				differ = differ || !r.Lacking && len(r.Added.Differences) > 0
				printing = errors.Join(printing, a.printScan(cmd.OutOrStdout(), r))
			})
			face.Close()
			if err = errors.Join(err, failed, printing); err != nil {
				return withCode(err)
			}
			if differ {
				return exitcode.With(exitcode.Mismatch, errors.New("tapes and ledger do not agree: the ledger was left as it is where they differ; see above"))
			}
			if lacking {
				return exitcode.With(exitcode.Mismatch, errors.New("a tape does not give back all that it should hold; see above. What it gives back whole is in the ledger"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Deep, "deep", false, "read archives that no readable catalog lists")
	return cmd
}

// failure is why a tape was not taken in, under its name.
func failure(r *scan.Report) error {
	var absent *archiver.AbsentError
	var other *ledger.ContradictionError
	switch {
	case r.Foreign != "":
		return fmt.Errorf("tape %s holds %s; it is left alone", r.Barcode, r.Foreign)
	case r.Err == nil, errors.As(r.Err, &absent), errors.As(r.Err, &other):
		return r.Err
	}
	return fmt.Errorf("tape %s: %w", r.Barcode, r.Err)
}

func (a *app) printScan(out io.Writer, r *scan.Report) error {
	if a.json {
		return printJSON(out, scanJSON(r))
	}
	n := r.Added
	switch {
	case r.Blank:
		fmt.Fprintf(out, "%s: blank; `twintape tapes add %[1]s` makes it known to jobs\n", r.Barcode)
	case r.Foreign != "":
		fmt.Fprintf(out, "%s: not twintape's: %s\n", r.Barcode, escaped(r.Foreign))
	case r.Err != nil:
		fmt.Fprintf(out, "%s: not taken in\n", r.Barcode)
	default:
		what := "twin of " + r.Label.Twin
		if r.WrittenBy != "" {
			what = fmt.Sprintf("written by %s %s", r.WrittenBy, date(r.Label.Created))
		}
		fmt.Fprintf(out, "%s: %s, side %d; new in the ledger: %s, %s, %s, %d copies\n", r.Barcode, what, n.Side,
			count(n.Sessions, "session"), count(n.Archives, "archive"), count(n.Items, "item"), n.Copies)
	}
	if n.Replaced != "" {
		fmt.Fprintf(out, "  it was made in place of %s, which is taken out of the pair\n", n.Replaced)
	}
	for _, d := range n.Differences {
		fmt.Fprintf(out, "  differs: %s\n", escaped(d))
	}
	if n.Unlisted > 0 {
		fmt.Fprintf(out, "  and %d more\n", n.Unlisted)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "  %s\n", escaped(note))
	}
	return nil
}

func scanJSON(r *scan.Report) map[string]any {
	n := r.Added
	line := map[string]any{"barcode": r.Barcode, "notes": append([]string{}, r.Notes...), "differences": append([]string{}, n.Differences...), "unlisted": n.Unlisted}
	if r.Label.Tape != "" {
		line["uuid"], line["pair"], line["twin"] = r.Label.Tape, r.Label.Pair, r.Label.Twin
		line["added"] = map[string]any{"sessions": n.Sessions, "archives": n.Archives, "items": n.Items, "copies": n.Copies}
	}
	if r.WrittenBy != "" {
		line["written_by"], line["lacking"] = r.WrittenBy, r.Lacking
	}
	if r.Foreign != "" {
		line["foreign"] = r.Foreign
	}
	if r.Blank {
		line["blank"] = true
	}
	if n.Replaced != "" {
		line["replaced"] = n.Replaced
	}
	if r.Err != nil {
		line["error"] = r.Err.Error()
	}
	return line
}
