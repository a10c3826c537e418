package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"twintape/fsmount"
	"twintape/internal/exitcode"
)

// readyFD is the environment variable by which the process of `mount --background` learns whom to tell that it is ready.
const readyFD = "TWINTAPE_MOUNT_READY"

func newMountCommand(a *app) *cobra.Command {
	var background bool
	cmd := &cobra.Command{
		Use:   "mount MOUNTPOINT",
		Short: "Show all hosts, and what is on tape, as one read-only tree",
		Long: "mount shows each host as MOUNTPOINT/host/path, also under its aliases and as MOUNTPOINT/host:/path, and what is on\n" +
			"tape, with its sizes and times, as MOUNTPOINT/tapes/BARCODE/host/path, or /tapes/all/host/path; its data is brought\n" +
			"off the tape if the configuration says recall = true, else it cannot be read. Extended attributes (getfattr -d) tell\n" +
			"where a file is: user.twintape.host, .md5, .tapes, .state and .residency. No host is contacted before\n" +
			"something of it is looked at, and one that is down fails alone. It stays in the foreground, tells systemd when it is\n" +
			"ready, and ends well with SIGTERM, Ctrl-C or umount; with --background it returns once it is mounted, and writes to\n" +
			"mount.log in state_dir. A mount that a killed process left there is taken away first.\n\n" +
			"As root it needs nothing but /dev/fuse, otherwise Debian's package fuse3.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mountpoint, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if background {
				return mountInBackground(cmd.Context(), filepath.Join(cfg.StateDir, "mount.log"))
			}
			ns, err := a.namespace()
			if err != nil {
				return err
			}
			mounted := fsmount.Config{
				Namespace: ns, AttrTTL: cfg.Mount.AttrTTL, CallLimit: time.Minute, AllowOther: cfg.Mount.AllowOther,
				Problem: func(text string) { a.log.Warn(text) }, Info: func(text string) { a.log.Info(text) },
			}
			if l, err := a.ledger(cmd.Context()); err == nil {
				tapes := a.tapes(l)
				if cfg.Mount.Recall {
					if recaller, err := a.recaller(l); err == nil {
						tapes.Recaller, mounted.RecallLimit = recaller, cfg.Mount.RecallTimeout+mounted.CallLimit
					} else {
						a.log.Warnf("what is on tape is shown, but cannot be read: %v", err)
					}
				}
				mounted.Tapes, mounted.Xattrs = tapes, tapes.HostXattrs
			} else {
				a.log.Warnf("what is on tape is not shown: %v", err) // the hosts can do without
			}
			err = fsmount.Serve(cmd.Context(), mountpoint, mounted, func() {
				a.log.Infof("mounted at %s", mountpoint)
				tellReady(func(err error) { a.log.Warnf("telling that the mount is ready: %v", err) })
			})
			if err != nil {
				return exitcode.With(exitcode.Failed, err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&background, "background", false, "return once it is mounted, and go on in the background")
	return cmd
}

// tellReady tells systemd (sd_notify(3)) and the process of --background, where there are such, that the mount is ready.
func tellReady(failed func(error)) {
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		if strings.HasPrefix(socket, "@") { // in the abstract namespace
			socket = "\x00" + socket[1:]
		}
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err == nil {
			_, err = conn.Write([]byte("READY=1"))
			err = errors.Join(err, conn.Close())
		}
		if err != nil {
			failed(err)
		}
	}
	if os.Getenv(readyFD) != "" {
		pipe := os.NewFile(3, "ready")
		if _, err := pipe.WriteString("ready\n"); err != nil {
			failed(err)
		}
		pipe.Close() // nobody waits any more
	}
}

// mountInBackground starts the same command in a session of its own, which writes to a log file, and returns when that is
// ready. Nothing of this process stays open in it, so that nobody waits for more.
func mountInBackground(ctx context.Context, logFile string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(logFile, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return arg == "--background" || arg == "--background=true" })
	child := exec.Command(self, args...)
	child.Args[0] = os.Args[0]
	child.Env = append(os.Environ(), readyFD+"=3")
	child.Stderr = log
	child.ExtraFiles = []*os.File{tell}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	tell.Close() // the child has its own
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })() //nolint:errcheck // it may have ended
	if line, _ := bufio.NewReader(told).ReadString('\n'); line == "ready\n" && ctx.Err() == nil {
		return child.Process.Release()
	}
	err = child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		why, _ := io.ReadAll(io.NewSectionReader(log, 0, 64<<10)) // what can be had of it
		return exitcode.With(max(exit.ExitCode(), exitcode.Failed), fmt.Errorf("the mount in the background ended before it was ready: %s",
			strings.TrimPrefix(strings.TrimSpace(string(why)), "twintape: ")))
	}
	return err
}
