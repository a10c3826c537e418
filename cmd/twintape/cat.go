package main

import (
	"io"

	"github.com/spf13/cobra"
)

func newCatCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cat HOST:/PATH | tapes/BARCODE/.catalog.jsonl",
		Short: "Print a file of a host, or of what is known of a tape",
		Long: "cat prints a file of a host. Of a tape it prints .label, .catalog.jsonl and .MD5SUMS, as they are on it, from the ledger;\n" +
			"what was archived has its data on the tape alone.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			src, p, err := a.locate(ctx, args[0])
			if err != nil {
				return err
			}
			f, err := src.Open(ctx, p)
			if err != nil {
				return withCode(err)
			}
			defer f.Close()
			buf := make([]byte, 4<<20)
			for off := int64(0); ; {
				n, err := f.ReadAt(ctx, buf, off)
				if _, err := cmd.OutOrStdout().Write(buf[:n]); err != nil {
					return err
				}
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return withCode(err)
				}
				off += int64(n)
			}
		},
	}
}
