package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/tapetree"
	"twintape/sources"
)

func newLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls [HOST:/PATH | tapes/BARCODE/HOST/PATH]",
		Short: "List a folder of a host or of a tape's catalog, or the hosts",
		Long: "ls lists what a folder of a host holds. Without an argument it lists the configured hosts and contacts none.\n" +
			"What is on tape is listed from the ledger: 'tapes' lists the tapes, 'tapes/PAPR1001' what is on one, 'tapes/all' what is on any.\n" +
			"Names that a terminal could mistake are quoted as Go strings.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				return a.listHosts(out)
			}
			src, p, err := a.locate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			entries, err := list(cmd.Context(), src, p)
			if err != nil {
				return withCode(err)
			}
			if a.json {
				return printEntries(out, entries)
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			for _, e := range entries {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s%s\n", e.Mode, owner(e.User, e.UID), owner(e.Group, e.GID), e.Size,
					e.MTime.UTC().Format(time.RFC3339), printable(e.Name), arrow(e.target))
			}
			return w.Flush()
		},
	}
}

// locate finds the tree that a path on the command line is in, and the path in it.
func (a *app) locate(ctx context.Context, arg string) (sources.Source, string, error) {
	if top, below, _ := strings.Cut(arg, "/"); top == tapetree.Name {
		l, err := a.ledger(ctx)
		if err != nil {
			return nil, "", err
		}
		return a.tapes(l), path.Clean("/" + below), nil
	}
	host, p, err := sources.ParsePath(arg)
	if err != nil {
		return nil, "", exitcode.With(exitcode.Usage, err)
	}
	ns, err := a.namespace()
	if err != nil {
		return nil, "", err
	}
	_, src, err := ns.Source(host)
	return src, p, withCode(err)
}

// tapes is what the ledger says is on tape, as a tree.
func (a *app) tapes(l *ledger.Ledger) *tapetree.Tree {
	return &tapetree.Tree{Ledger: l, Scratch: a.cfg.StateDir, Changed: archiver.SameEntry}
}

func (a *app) listHosts(out io.Writer) error {
	if _, err := a.config(); err != nil {
		return err
	}
	for _, h := range a.cfg.Hosts {
		if a.json {
			if err := printJSON(out, map[string]any{"host": h.Name, "aliases": h.Aliases, "source": h.Source, "root": h.Root}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "%s:/\n", h.Name)
	}
	return nil
}

// listed is an entry with where it points, if it is a symlink.
type listed struct {
	sources.Info
	target string
}

func list(ctx context.Context, src sources.Source, p string) ([]listed, error) {
	info, err := src.Stat(ctx, p)
	if err != nil {
		return nil, err
	}
	infos, dir := []sources.Info{info}, path.Dir(p)
	if info.Mode.IsDir() {
		dir = p
		if infos, err = src.ReadDir(ctx, p); err != nil {
			return nil, err
		}
	}
	var out []listed
	for _, i := range infos {
		l := listed{Info: i}
		if i.Mode&fs.ModeSymlink != 0 {
			if l.target, err = src.Readlink(ctx, path.Join(dir, i.Name)); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func printEntries(out io.Writer, entries []listed) error {
	for _, e := range entries {
		line := map[string]any{
			"mode": e.Mode.String(), "uid": e.UID, "gid": e.GID, "user": e.User, "group": e.Group, "size": e.Size,
			"mtime": e.MTime.UTC().Format(time.RFC3339Nano),
		}
		putPath(line, "name", e.Name)
		if e.target != "" {
			putPath(line, "target", e.target)
		}
		if err := printJSON(out, line); err != nil {
			return err
		}
	}
	return nil
}

func owner(name string, id uint32) string {
	if name == "" {
		return strconv.FormatUint(uint64(id), 10)
	}
	return printable(name)
}

func arrow(target string) string {
	if target == "" {
		return ""
	}
	return " -> " + printable(target)
}
