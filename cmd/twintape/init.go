package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/mycnf"
	"twintape/internal/tape/virtual"
)

// virtualLibrary and realLibrary are what the first configuration says of its library.
const (
	virtualLibrary = `kind = "virtual"         # cartridges are files, <dir>/<BARCODE>.tap
dir = "library"
timing = "none"          # or "lto5" to "lto9": drives as slow as real ones
`
	realLibrary = `kind = "scsi"
changer = %q
# drives = ["/dev/nst0", "/dev/nst1"]   # only if the library does not tell which drive is which, in the order of its elements
# media_suffix = "keep"  # or "strip": PAPR1001L5 is called PAPR1001
# compression = false
`
)

// starter is the first configuration, but for its library.
const starter = `# twintape's configuration. Relative paths are relative to this file. docs/operating.md explains every key.
state_dir = "."          # ledger, locks, temporary files

[ledger]
%s

[library]
%s
[archive]
archive_size = "1 GiB"   # one tape file; a larger item gets one of its own
flush_bytes = "4 GiB"    # both tapes are flushed at least this often
memory = "1 GiB"         # the buffer between hosts and drives
sides = ["PAPR1*", "PAPR2*"]

[verify]
sample = 0.25            # fraction of the items read back after writing; 1 is everything
deletable_after = "full"

# One [[host]] for each host whose data is archived, as host:/path on the command line:
#
# [[host]]
# name = "pot1"
# source = "local"
# root = "/data"         # the folder that is pot1:/
#
# [[host]]
# name = "pot5"
# aliases = ["pot5.example.org"]
# source = "sftp"
# address = "pot5.example.org:22"
# user = "obs"
# identity_file = "~/.ssh/id_ed25519"   # or leave it out and use the SSH agent
# known_hosts = "~/.ssh/known_hosts"
#
# [[host]]
# name = "pot6"
# source = "nfs"                        # NFS version 3; its exports show at their own paths
# address = "pot6.example.org"
`

// The ledger's lines in it.
const (
	inFile   = `driver = "sqlite"        # ledger.db in state_dir, unless path says otherwise`
	inServer = "driver = \"mysql\"\ncredentials_file = %q   # how to reach MariaDB or MySQL: a [client] section"
)

func newInitCommand(*app) *cobra.Command {
	var dir, capacity, changer, credentials string
	cmd := &cobra.Command{
		Use:   "init --dir DIR [--ledger-credentials FILE]",
		Short: "Write a first configuration, a ledger and a virtual library",
		Long: "init makes DIR/twintape.toml, a SQLite ledger, and a virtual library of two drives and eight cartridges\n" +
			"(PAPR1001 to PAPR1004, PAPR2001 to PAPR2004), all under DIR. It refuses an existing configuration.\n\n" +
			"With --changer the site is one of a real library: DIR/twintape.toml names the changer, and the ledger knows no cartridge\n" +
			"yet (`twintape tapes add`).\n\n" +
			"With --ledger-credentials the ledger is in the MariaDB or MySQL that FILE's [client] section names: its tables are made\n" +
			"if the database is empty, else the new site joins the ledger that is there, with the next free barcodes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			holds, err := parseCapacity(capacity)
			if err != nil {
				return err
			}
			if dir == "" {
				return exitcode.With(exitcode.Usage, errors.New("--dir is missing: name the folder to make"))
			}
			if credentials != "" { // before anything is made
				if _, err := mycnf.Read(credentials); err != nil {
					return exitcode.With(exitcode.Usage, err)
				}
			}
			if changer != "" {
				file, err := makeRealSite(cmd.Context(), dir, changer, credentials)
				if err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s written, with a ledger.\nNext: add your hosts to it, then: twintape --config %s tapes add BARCODE...\n", file, file)
				}
				return err
			}
			file, err := makeSite(cmd.Context(), dir, credentials, holds)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s written, with a ledger and a virtual library of 2 drives and 8 cartridges of %s.\n"+
				"Next: add your hosts to it, then: twintape --config %s ls\n", file, size(holds), file)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder to make")
	cmd.Flags().StringVar(&changer, "changer", "", "node of a real library's changer, such as /dev/sg3")
	cmd.Flags().StringVar(&credentials, "ledger-credentials", "", "my.cnf file of the database for the ledger (default: a SQLite file)")
	addCapacityFlag(cmd, &capacity)
	return cmd
}

func addCapacityFlag(cmd *cobra.Command, capacity *string) {
	cmd.Flags().StringVar(capacity, "capacity", "8 GiB", "what a new virtual cartridge holds; its file grows as it is written")
}

func parseCapacity(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n < 64<<20 || n > 1<<50 {
		return 0, exitcode.With(exitcode.Usage, fmt.Errorf("--capacity %q: give a size from 64 MiB to 1 PiB, such as \"8 GiB\"", s))
	}
	return int64(n), nil
}

// unmade makes sure that a folder has nothing of a site yet, and returns what its files are called.
func unmade(dir string) (file, ledgerFile, tapes string, err error) {
	file, ledgerFile, tapes = filepath.Join(dir, "twintape.toml"), filepath.Join(dir, "ledger.db"), filepath.Join(dir, "library")
	advice := "choose another folder, or go on with it"
	for _, there := range []string{file, ledgerFile, tapes} {
		if _, err := os.Lstat(there); err == nil {
			return "", "", "", exitcode.With(exitcode.Usage, fmt.Errorf("%s exists already: %s", there, advice))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", "", "", err
		}
		advice = "an earlier init was cut off, or its twintape.toml is gone; choose another folder"
	}
	return file, ledgerFile, tapes, nil
}

// makeLedger makes the ledger of a new site, or joins one in a server, and returns its lines in the configuration.
func makeLedger(ctx context.Context, file, credentials string) (l *ledger.Ledger, where string, err error) {
	if credentials == "" {
		l, err = ledger.Create(ctx, file)
		return l, inFile, err
	}
	if credentials, err = filepath.Abs(credentials); err != nil {
		return nil, "", err
	}
	client, err := mycnf.Read(credentials)
	if err != nil {
		return nil, "", err
	}
	if l, err = ledger.CreateMySQL(ctx, client, ledger.Options{}); errors.Is(err, fs.ErrExist) {
		others := err
		if l, err = ledger.OpenMySQL(ctx, client, ledger.Options{}); errors.Is(err, ledger.ErrNoLedger) { // unless another machine's site made it
			err = fmt.Errorf("%w, or one with a ledger of twintape: name another database in %s", others, credentials)
		}
	}
	return l, fmt.Sprintf(inServer, credentials), err
}

// makeRealSite makes a site whose library is there already.
func makeRealSite(ctx context.Context, dir, changer, credentials string) (string, error) {
	file, ledgerFile, _, err := unmade(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	l, where, err := makeLedger(ctx, ledgerFile, credentials)
	if err != nil {
		return "", err
	}
	if err := l.Close(); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, fmt.Appendf(nil, starter, where, fmt.Sprintf(realLibrary, changer)), 0o644)
}

func makeSite(ctx context.Context, dir, credentials string, capacity int64) (file string, err error) {
	file, ledgerFile, tapes, err := unmade(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// First, since a server may refuse: then nothing is left that a second attempt would stumble over.
	l, where, err := makeLedger(ctx, ledgerFile, credentials)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := virtual.Create(tapes, virtual.Options{Drives: 2, Slots: 16, ImportExport: 2}); err != nil {
		return "", err
	}
	lib, err := virtual.Open(tapes)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lib.Close()) }()
	first, err := nextNumber(ctx, l)
	if err != nil {
		return "", err
	}
	for side := 1; side <= 2; side++ {
		for n := first; n < first+4; n++ {
			barcode := fmt.Sprintf("PAPR%d%03d", side, n)
			if err := lib.AddCartridge(barcode, capacity); err != nil {
				return "", err
			}
			if _, err := l.AddTape(ctx, ledger.Tape{Barcode: barcode, Capacity: capacity}); err != nil {
				return "", err
			}
		}
	}
	// Last, so that a configuration stands for a site that is whole.
	return file, os.WriteFile(file, fmt.Appendf(nil, starter, where, virtualLibrary), 0o644)
}

// nextNumber is the first that no barcode in the ledger has, nor any above it.
func nextNumber(ctx context.Context, l *ledger.Ledger) (int, error) {
	tapes, err := l.Tapes(ctx)
	next := 1
	for _, t := range tapes {
		var side, n int
		if _, err := fmt.Sscanf(t.Barcode, "PAPR%1d%3d", &side, &n); err == nil {
			next = max(next, n+1)
		}
	}
	return next, err
}
