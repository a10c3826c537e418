package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/lock"
	"twintape/internal/tape/virtual"
	"twintape/internal/tape/vtl"
	"twintape/internal/tape/vtl/tcmu"
)

func newVtlCommand(a *app) *cobra.Command {
	var dir, control string
	cmd := &cobra.Command{
		Use:   "vtl --dir DIR",
		Short: "Make a virtual library real SCSI devices of this machine",
		Long: "vtl presents a folder of .tap cartridges (see `twintape init`) as a changer and tape drives of the kernel: /dev/st*,\n" +
			"/dev/sg*, for mt, mtx, tar and whatever else works with tapes. It stays in the foreground, tells systemd when the\n" +
			"devices are there, and takes them away with SIGTERM or Ctrl-C. If it is killed they stay, and the next vtl of that\n" +
			"folder goes on with them, as drives that were switched off and on.\n\n" +
			"It needs root, the kernel's modules target_core_user, tcm_loop, st and sg, and CAP_SYS_MODULE unless they are loaded.\n" +
			"Faults are scripted by --control; docs/vtl.md has the lines.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if dir == "" {
				return exitcode.With(exitcode.Usage, errors.New("--dir is missing: the folder of a virtual library"))
			}
			path, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			if err := tcmu.Ready(); err != nil {
				return exitcode.With(exitcode.Unavailable, err)
			}
			lib, err := virtual.Open(path)
			if errors.Is(err, lock.ErrHeld) {
				return exitcode.With(exitcode.Held, err)
			}
			if err != nil {
				return exitcode.With(exitcode.Unavailable, err)
			}
			defer func() { err = errors.Join(err, lib.Close()) }()
			name := libraryName(path)
			units, err := vtl.Units(vtlLibrary{lib}, name, vtl.NewControl(control, func(err error) { a.log.Warn(err) }))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, vtl.Close(units)) }()
			host, err := tcmu.Open(name, units)
			if err != nil {
				return exitcode.With(exitcode.Unavailable, err)
			}
			defer func() { err = errors.Join(err, host.Close()) }()
			nodes, err := host.Nodes(ctx)
			if err != nil {
				return err
			}
			if err := printNodes(cmd.OutOrStdout(), nodes, a.json); err != nil {
				return err
			}
			tellReady(func(err error) { a.log.Warnf("telling that the devices are there: %v", err) })
			select {
			case <-ctx.Done():
				return nil
			case err := <-host.Failed():
				return err
			}
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder of the virtual library")
	cmd.Flags().StringVar(&control, "control", "", "file that scripts faults, read again whenever it changes")
	return cmd
}

func printNodes(out io.Writer, nodes []tcmu.Node, asJSON bool) error {
	t := newTable(out, "UNIT", "SERIAL", "DEVICES")
	for _, n := range nodes {
		var err error
		if asJSON {
			err = printJSON(out, map[string]any{"unit": n.Unit, "serial": n.Serial, "devices": n.Paths})
		} else {
			err = t.row(n.Unit, n.Serial, strings.Join(n.Paths, " "))
		}
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// libraryName is eight characters that tell the libraries of a machine apart, and stay the same.
func libraryName(path string) string {
	h := fnv.New32a()
	h.Write([]byte(path)) //nolint:errcheck // a hash never fails
	return fmt.Sprintf("%08X", h.Sum32())
}

// vtlLibrary has the media of a virtual library as what vtl knows them as.
type vtlLibrary struct{ *virtual.Library }

func (l vtlLibrary) Medium(drive int) (vtl.Medium, error) {
	m, err := l.Library.Medium(drive)
	if err != nil {
		return nil, err
	}
	return m, nil
}
