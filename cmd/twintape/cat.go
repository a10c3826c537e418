package main

import (
	"io"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/sources"
)

func newCatCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cat HOST:/PATH",
		Short: "Print a file of a host",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, p, err := sources.ParsePath(args[0])
			if err != nil {
				return exitcode.With(exitcode.Usage, err)
			}
			ns, err := a.namespace()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			f, err := ns.Open(ctx, host, p)
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
