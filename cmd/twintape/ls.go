package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/sources"
)

func newLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls [HOST:/PATH]",
		Short: "List a folder of a host, or the hosts",
		Long: "ls lists what a folder of a host holds. Without an argument it lists the configured hosts and contacts none.\n" +
			"Names that a terminal could mistake are quoted as Go strings.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ns, err := a.namespace()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				return a.listHosts(out)
			}
			host, p, err := sources.ParsePath(args[0])
			if err != nil {
				return exitcode.With(exitcode.Usage, err)
			}
			entries, err := list(cmd.Context(), ns, host, p)
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

func (a *app) listHosts(out io.Writer) error {
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

func list(ctx context.Context, ns *sources.Namespace, host, p string) ([]listed, error) {
	info, err := ns.Stat(ctx, host, p)
	if err != nil {
		return nil, err
	}
	infos, dir := []sources.Info{info}, path.Dir(p)
	if info.Mode.IsDir() {
		dir = p
		if infos, err = ns.ReadDir(ctx, host, p); err != nil {
			return nil, err
		}
	}
	var out []listed
	for _, i := range infos {
		l := listed{Info: i}
		if i.Mode&fs.ModeSymlink != 0 {
			if l.target, err = ns.Readlink(ctx, host, path.Join(dir, i.Name)); err != nil {
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
