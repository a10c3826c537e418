package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"twintape/archiver"
	"twintape/archiver/bridge"
	"twintape/internal/config"
	"twintape/internal/event"
	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/lock"
	"twintape/internal/tape"
	"twintape/internal/tape/scsi"
	"twintape/internal/tape/virtual"
	"twintape/sources"
	"twintape/sources/local"
	"twintape/sources/nfs"
	"twintape/sources/sftp"
)

// app is what the commands share. What they ask it for is opened when first asked for, and closed at the end.
type app struct {
	configFile string
	logLevel   string
	json       bool
	stop       <-chan struct{} // closed when the operator wants to stop at the next safe point
	inJob      atomic.Bool     // there are safe points to stop at; else the first signal cancels the command's context

	log     *logrus.Logger
	runLog  *runLog  // nil unless a run is logged to a file
	done    int      // runs that came to their end
	lost    []string // tapes that runs went on without
	cfg     *config.Config
	bridge  *bridge.Bridge // nil without paper-dump's databases; set with the archiver
	closers []func() error
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "twintape",
		Short: "Archive observations from several hosts onto pairs of tapes, and prove both good",
		Long: "twintape streams observations from several hosts (SFTP, NFS, local) onto two tapes in one pass, reads both tapes\n" +
			"back at once, and records in its ledger what is where. Start with `twintape init --dir DIR`.\n\n" +
			"Exit codes:\n" + exitcode.Help(),
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			lock.Command = cmd.CommandPath()
			level, err := logrus.ParseLevel(a.logLevel)
			if err != nil {
				return exitcode.With(exitcode.Usage, fmt.Errorf("--log-level: %w", err))
			}
			a.log = logrus.New()
			a.log.SetLevel(level)
			a.log.SetOutput(os.Stderr)
			a.log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: true})
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFile, "config", "", "configuration file (default $TWINTAPE_CONFIG, ./twintape.toml, /etc/twintape.toml)")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warning or error")
	flags.BoolVar(&a.json, "json", false, "print data as JSON")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitcode.With(exitcode.Usage, err) })
	root.AddCommand(
		newInitCommand(a),
		newLsCommand(a),
		newCatCommand(a),
		newMountCommand(a),
		newQueueCommand(a),
		newArchiveCommand(a),
		newResumeCommand(a),
		newAbortCommand(a),
		newJobsCommand(a),
		newHoldCommand(a),
		newUnholdCommand(a),
		newVerifyCommand(a),
		newRestoreCommand(a),
		newFindCommand(a),
		newCopiesCommand(a),
		newDeletableCommand(a),
		newTapesCommand(a),
		newDrivesCommand(a),
		newScanCommand(a),
		newCopyCommand(a),
		newVtlCommand(a),
		newVersionCommand(a),
	)
	usage(root)
	return root
}

// usage gives mistakes in the arguments their exit code.
func usage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return exitcode.With(exitcode.Usage, fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		usage(c)
	}
}

// close closes what was opened, last first.
func (a *app) close(err error) error {
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	if a.runLog != nil {
		err = errors.Join(err, a.runLog.end(err))
	}
	return err
}

func (a *app) config() (*config.Config, error) {
	if a.cfg != nil {
		return a.cfg, nil
	}
	file, err := config.Find(a.configFile)
	if err == nil {
		a.cfg, err = config.Load(file)
	}
	return a.cfg, exitcode.With(exitcode.Usage, err)
}

// namespace joins the configured hosts. None is contacted yet.
func (a *app) namespace() (*sources.Namespace, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	var hosts []sources.Host
	for _, h := range cfg.Hosts {
		host := sources.Host{Name: h.Name, Aliases: h.Aliases}
		if host.Source, err = source(h); err != nil {
			return nil, exitcode.With(exitcode.Usage, err)
		}
		hosts = append(hosts, host)
	}
	ns, err := sources.NewNamespace(hosts)
	if err != nil {
		return nil, exitcode.With(exitcode.Usage, err)
	}
	a.closers = append(a.closers, ns.Close)
	return ns, nil
}

// source makes the tree of a configured host, which is not contacted yet.
func source(h config.Host) (sources.Source, error) {
	switch h.Source {
	case "sftp":
		return sftp.New(sftp.Config{
			Host: h.Name, Address: h.Address, User: h.User, IdentityFile: h.IdentityFile, KnownHosts: h.KnownHosts, SSHConfig: h.SSHConfig, Root: h.Root,
		}), nil
	case "nfs":
		cfg := nfs.Config{Host: h.Name, Address: h.Address, Root: h.Root, Exports: h.Exports, NFSPort: h.NFSPort, MountPort: h.MountPort}
		if h.Owner != nil {
			cfg.Credential = &nfs.Credential{UID: h.Owner.UID, GID: h.Owner.GID, GIDs: h.Owner.GIDs}
		}
		return nfs.New(cfg)
	}
	return local.New(h.Name, h.Root)
}

// library takes the tape library for this process.
func (a *app) library(ctx context.Context) (tape.Library, error) {
	for began, told := time.Now(), false; ; {
		l, err := a.openLibrary(ctx)
		if err == nil {
			a.closers = append(a.closers, l.Close)
			return l, nil
		}
		// A mount that recalls files gives the library back soon; a night's run need not fail for that.
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Holder.Command != mountCommand || time.Since(began) > mountPatience {
			return nil, err
		}
		if !told {
			a.log.Infof("a mount (process %d) reads a tape for its users: waiting for it", held.Holder.PID)
			told = true
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// How a mount is called in the locks that it takes, and how long it is waited for.
const (
	mountCommand  = "twintape mount"
	mountPatience = 10 * time.Minute
)

// openLibrary takes the tape library; the caller closes it.
func (a *app) openLibrary(ctx context.Context) (tape.Library, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	var l tape.Library
	if cfg.Library.Kind == "scsi" {
		l, err = scsi.Open(ctx, scsi.Config{
			Changer: cfg.Library.Changer, Drives: cfg.Library.Drives, StripMedia: cfg.Library.StripMedia, Compression: cfg.Library.Compression,
		})
	} else {
		l, err = openVirtual(&cfg.Library)
	}
	if errors.Is(err, lock.ErrHeld) {
		return nil, exitcode.With(exitcode.Held, err)
	}
	if err != nil {
		return nil, exitcode.With(exitcode.Unavailable, err)
	}
	return l, nil
}

func openVirtual(cfg *config.Library) (tape.Library, error) {
	l, err := virtual.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if cfg.Timing != "none" {
		l.Timing = &virtual.Timing{Generation: cfg.Timing, Scale: 1}
	}
	return l, nil
}

// archiver wires the job. Commands that move no tape get one without a library.
func (a *app) archiver(ctx context.Context, withLibrary bool, events event.Sink) (*archiver.Archiver, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	out := &archiver.Archiver{
		Settings: archiver.Settings{
			ArchiveSize: cfg.Archive.ArchiveSize, RecordSize: cfg.Archive.RecordSize, FlushBytes: cfg.Archive.FlushBytes,
			Memory: cfg.Archive.Memory, Sides: cfg.Archive.Sides, Sample: cfg.Verify.Sample, SwapDrives: cfg.Verify.SwapDrives,
			Single:  cfg.Archive.OnDriveFailure == "single",
			Scratch: cfg.StateDir,
		},
		Events: events,
	}
	if out.Ledger, err = a.ledger(ctx); err != nil {
		return nil, err
	}
	if out.Namespace, err = a.namespace(); err != nil {
		return nil, err
	}
	if a.bridge = a.bridgeTo(out); a.bridge != nil {
		out.Labels = a.bridge
		out.BeforePlan = func(ctx context.Context) error {
			return a.recheckRows(ctx, func(text string) { out.Events.Emit(event.Note{Text: text}) })
		}
	}
	if withLibrary {
		lib, err := a.library(ctx)
		if err != nil {
			return nil, err
		}
		out.Library = lib
	}
	return out, nil
}

// withCode gives an error of the packages below its exit code, unless it has one.
func withCode(err error) error {
	if err == nil || exitcode.Of(err) != exitcode.Failed {
		return err
	}
	var noTape *archiver.NoTapeError
	var drives *archiver.DrivesError
	var absent *archiver.AbsentError
	var mismatch *archiver.MismatchError
	var pattern *sources.PatternError
	var sense *tape.SenseError
	switch {
	case errors.As(err, &mismatch):
		return exitcode.With(exitcode.Mismatch, err)
	case errors.Is(err, archiver.ErrNothingQueued):
		return exitcode.With(exitcode.Nothing, err)
	case errors.Is(err, lock.ErrHeld), errors.Is(err, ledger.ErrClaimed), errors.Is(err, ledger.ErrFenced):
		return exitcode.With(exitcode.Held, err)
	case errors.As(err, &noTape), errors.As(err, &drives), errors.As(err, &absent), errors.Is(err, tape.ErrBusy), errors.Is(err, tape.ErrNoMedium), errors.Is(err, sources.ErrUnavailable),
		errors.As(err, &sense) && sense.Key == tape.NotReady:
		return exitcode.With(exitcode.Unavailable, err)
	case errors.As(err, &pattern), errors.Is(err, doublestar.ErrBadPattern), errors.Is(err, sources.ErrUnknownHost):
		return exitcode.With(exitcode.Usage, err)
	}
	return err
}

// describe is an error as it is printed: joined errors stand on lines of their own, fit for a terminal.
func describe(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		lines[i] = escaped(l)
	}
	return strings.Join(lines, "\ntwintape: ")
}
