// Package config reads the configuration file. Every value is checked here and nowhere else, and all faults are reported
// at once, each with what to do about it.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/dustin/go-humanize"
)

// Config is a checked configuration; relative paths are made absolute.
type Config struct {
	File     string
	StateDir string
	Ledger   Ledger
	Library  Library
	Hosts    []Host
	Archive  Archive
	Verify   Verify
	Mount    Mount

	PaperData PaperData
}

// Ledger says where the ledger is: in a file, or, if Credentials is not empty, in the MariaDB or MySQL that this option file names.
type Ledger struct {
	Path        string
	Credentials string
	Lease       time.Duration // for how long a machine that is not heard of keeps its jobs; 0 for the default
	Patience    time.Duration // for how long a server that went away is waited for; 0 for the default
}

// Library says where the tapes are.
type Library struct {
	Kind string // "virtual" or "scsi"

	// Of a virtual one.
	Dir    string
	Timing string // "none", or the generation whose drives it is as slow as: "lto5" to "lto9"

	// Of a real one.
	Changer     string   // node of the changer
	Drives      []string // nodes of the drives; none where the library tells them
	StripMedia  bool     // barcodes lose the media identifier behind them
	Compression bool
}

// Host is one source of data.
type Host struct {
	Name         string
	Aliases      []string
	Source       string // "local", "sftp" or "nfs"
	Address      string // sftp: host or host:port; nfs: host
	User         string
	IdentityFile string
	KnownHosts   string
	SSHConfig    string // sftp: the ssh_config(5) file; empty for none
	Root         string // the folder on the host that is its / here

	// NFS only.
	Exports   []string // the host's own list if empty
	Owner     *Owner   // whom its server takes us for; the process's own numbers if nil
	NFSPort   int      // what the host's port mapper says if 0
	MountPort int
}

// Owner is a user with his groups, by number.
type Owner struct {
	UID, GID uint32
	GIDs     []uint32
}

// Archive says how tapes are written. Sizes are in bytes.
type Archive struct {
	ArchiveSize int64
	RecordSize  int
	FlushBytes  int64
	Memory      int64
	Sides       [2]string

	OnDriveFailure string // "stop" both tapes, or finish a "single" one
}

// Verify says how much is read back, and when an item may be deleted.
type Verify struct {
	Sample         float64
	DeletableAfter string // "full" or "sample"
	SwapDrives     bool
}

// PaperData says how to reach the databases of paper-dump; without Credentials there are none.
type PaperData struct {
	Credentials string // option file
	Files       string // database with table File
	Labels      string // database with table ids
}

// Mount says how the namespace is mounted.
type Mount struct {
	AllowOther bool
	AttrTTL    time.Duration

	Recall        bool // what is read of a tape is brought off it
	CacheDir      string
	CacheSize     int64 // bytes
	RecallTimeout time.Duration
}

// Places are where Find looks when it is not told.
var Places = []string{"twintape.toml", "/etc/twintape.toml"}

// Find returns the configuration file: flag, or $TWINTAPE_CONFIG, or the first of Places that exists.
func Find(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv("TWINTAPE_CONFIG"); env != "" {
		return env, nil
	}
	for _, p := range Places {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", fmt.Errorf("no configuration: neither --config nor $TWINTAPE_CONFIG is given, and there is no ./%s; "+
		"`twintape init --dir DIR` writes a first one", strings.Join(Places, " and no "))
}

// Load reads and checks a configuration file.
func Load(file string) (*Config, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration: %w; `twintape init --dir DIR` writes a first one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parse(file, string(data))
}

// parse reads a configuration that lies at file.
func parse(file, text string) (*Config, error) {
	raw := defaults()
	meta, err := toml.Decode(text, &raw)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("%s:%d: %s", file, syntax.Position.Line, syntax.Message)
	}
	if err != nil {
		return nil, wrongType(file, err)
	}
	c := &checker{file: file, text: text, dir: filepath.Dir(file)}
	c.unknown(meta)
	out := c.config(&raw, meta)
	if err := errors.Join(c.faults...); err != nil {
		return nil, err
	}
	return out, nil
}

// typeError is how the library tells of a value that does not fit its key; it has no type for it.
var typeError = regexp.MustCompile(`(?s)^toml: line (\d+) \(last key "(.*?)"\): (.*)$`)

// wrongType words the library's error as the checker words its own.
func wrongType(file string, err error) error {
	if m := typeError.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: %s: %s", file, m[1], m[2], m[3])
	}
	return fmt.Errorf("%s: %w", file, err)
}

// size is a number of bytes, written as a number or as "12 GB", "512 KiB".
type size int64

func (s *size) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		*s = size(v)
		return nil
	case string:
		n, err := humanize.ParseBytes(v)
		if err != nil || n > 1<<62 {
			return fmt.Errorf("%q is no size: write it as \"12 GB\" or \"512 KiB\"", v)
		}
		*s = size(n)
		return nil
	}
	return fmt.Errorf("a size is a number of bytes or a text such as \"12 GB\", not %v", v)
}

// duration is a time, written as "1s", "5m".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no time: write it as \"1s\" or \"5m\"", text)
	}
	*d = duration(v)
	return nil
}
