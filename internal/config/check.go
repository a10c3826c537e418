package config

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/dustin/go-humanize"
)

// rawConfig is the file as it is written.
type rawConfig struct {
	StateDir string `toml:"state_dir"`
	Ledger   struct {
		Driver string `toml:"driver"`
		Path   string `toml:"path"`

		Credentials string   `toml:"credentials_file"`
		Lease       duration `toml:"lease"`
		Patience    duration `toml:"patience"`
	} `toml:"ledger"`
	Library struct {
		Kind        string   `toml:"kind"`
		Dir         string   `toml:"dir"`
		Timing      string   `toml:"timing"`
		Changer     string   `toml:"changer"`
		Drives      []string `toml:"drives"`
		MediaSuffix string   `toml:"media_suffix"`
		Compression bool     `toml:"compression"`
	} `toml:"library"`
	Hosts   []rawHost `toml:"host"`
	Archive struct {
		ArchiveSize size     `toml:"archive_size"`
		RecordSize  size     `toml:"record_size"`
		FlushBytes  size     `toml:"flush_bytes"`
		Memory      size     `toml:"memory"`
		Sides       []string `toml:"sides"`

		OnDriveFailure string `toml:"on_drive_failure"`
	} `toml:"archive"`
	Verify struct {
		Sample         float64 `toml:"sample"`
		DeletableAfter string  `toml:"deletable_after"`
		SwapDrives     *bool   `toml:"swap_drives"`
	} `toml:"verify"`
	PaperData struct {
		Credentials string `toml:"credentials_file"`
		Files       string `toml:"files_database"`
		Labels      string `toml:"labels_database"`
	} `toml:"paperdata"`
	Mount struct {
		AllowOther bool     `toml:"allow_other"`
		AttrTTL    duration `toml:"attr_ttl"`

		Recall        bool     `toml:"recall"`
		CacheDir      string   `toml:"cache_dir"`
		CacheSize     size     `toml:"cache_size"`
		RecallTimeout duration `toml:"recall_timeout"`
	} `toml:"mount"`
}

type rawHost struct {
	Name         string   `toml:"name"`
	Aliases      []string `toml:"aliases"`
	Source       string   `toml:"source"`
	Address      string   `toml:"address"`
	User         string   `toml:"user"`
	IdentityFile string   `toml:"identity_file"`
	KnownHosts   string   `toml:"known_hosts"`
	SSHConfig    string   `toml:"ssh_config"`
	Root         string   `toml:"root"`
	Exports      []string `toml:"exports"`
	UID          *int64   `toml:"uid"`
	GID          *int64   `toml:"gid"`
	GIDs         []int64  `toml:"gids"`
	NFSPort      *int64   `toml:"nfs_port"`
	MountPort    *int64   `toml:"mount_port"`
}

func defaults() rawConfig {
	var r rawConfig
	r.Ledger.Driver = "sqlite"
	r.Library.Timing = "none"
	r.Library.MediaSuffix = "keep"
	r.Archive.ArchiveSize = 12e9
	r.Archive.RecordSize = 512 << 10
	r.Archive.FlushBytes = 32e9
	r.Archive.Memory = 1 << 30
	r.Archive.Sides = []string{"PAPR1*", "PAPR2*"}
	r.Archive.OnDriveFailure = "stop"
	r.Verify.Sample = 0.25
	r.Verify.DeletableAfter = "full"
	r.PaperData.Files = "paperdata"
	r.PaperData.Labels = "mtx"
	r.Mount.AttrTTL = duration(time.Second)
	r.Mount.CacheSize = 50e9
	r.Mount.RecallTimeout = duration(30 * time.Minute)
	return r
}

// later are keys and values that the design has and this version does not.
var later = map[string]string{
	"serve": "the status page",
}

// known are the keys of this version, as the file spells them with their tables.
var known = []string{
	"state_dir", "ledger", "ledger.driver", "ledger.path", "ledger.credentials_file", "ledger.lease", "ledger.patience", "library", "library.kind", "library.dir", "library.timing",
	"library.changer", "library.drives", "library.media_suffix", "library.compression",
	"host", "host.name", "host.aliases", "host.source", "host.address", "host.user", "host.identity_file", "host.known_hosts", "host.ssh_config", "host.root",
	"host.exports", "host.uid", "host.gid", "host.gids", "host.nfs_port", "host.mount_port",
	"archive", "archive.archive_size", "archive.record_size", "archive.flush_bytes", "archive.memory", "archive.sides", "archive.on_drive_failure",
	"verify", "verify.sample", "verify.deletable_after", "verify.swap_drives",
	"paperdata", "paperdata.credentials_file", "paperdata.files_database", "paperdata.labels_database",
	"mount", "mount.allow_other", "mount.attr_ttl", "mount.recall", "mount.cache_dir", "mount.cache_size", "mount.recall_timeout",
}

// checker collects faults.
type checker struct {
	file   string
	dir    string
	text   string
	host   int // the number of the host that is being checked, from 1; else 0
	faults []error
}

func (c *checker) fault(key, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s%s: %s: %s", c.file, c.line(key), key, fmt.Sprintf(format, args...)))
}

// line finds where a key is written, or where its table begins if it is not there, as ":12"; empty if neither is. Of the
// hosts it looks at the one that is being checked, or at all of them.
func (c *checker) line(key string) string {
	table, name, _ := strings.Cut(key, ".")
	if name == "" {
		table, name = "", key
	}
	in, host, begins := "", 0, ""
	for i, l := range strings.Split(c.text, "\n") {
		l = strings.TrimSpace(l)
		here := fmt.Sprintf(":%d", i+1)
		if strings.HasPrefix(l, "[") {
			in = strings.Trim(strings.SplitN(l, "#", 2)[0], "[] \t")
			if in == "host" {
				host++
			}
			if in == key {
				return here
			}
		}
		if in != table || in == "host" && c.host != 0 && c.host != host {
			continue
		}
		if strings.HasPrefix(l, "[") && begins == "" {
			begins = here
		}
		if k, _, ok := strings.Cut(l, "="); ok && strings.Trim(k, " \t\"'") == name {
			return here
		}
	}
	return begins
}

// unknown faults keys that mean nothing.
func (c *checker) unknown(meta toml.MetaData) {
	told := make(map[string]bool)
	for _, k := range meta.Undecoded() {
		key := strings.Join(k, ".")
		table := k[0]
		if told[table] || told[key] {
			continue
		}
		told[key] = true
		if what := later[table]; what != "" {
			told[table] = true
			c.fault(table, "%s is not in this version: take the table out", what)
		} else if what := later[key]; what != "" {
			c.fault(key, "%s is not in this version: take the key out", what)
		} else {
			c.fault(key, "there is no such key; the nearest is %s", nearest(key))
		}
	}
}

// nearest is the known key with the smallest edit distance.
func nearest(key string) string {
	best, least := "", 1<<30
	for _, k := range known {
		if d := distance(key, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func (c *checker) abs(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// config checks all values.
func (c *checker) config(r *rawConfig, meta toml.MetaData) *Config {
	out := &Config{File: c.file, StateDir: c.abs(r.StateDir)}
	if r.StateDir == "" {
		c.fault("state_dir", "is missing: name the folder for the ledger, locks and temporary files, such as \"/var/lib/twintape\"")
	}
	c.ledger(r, out)
	c.library(r, meta, out)
	c.hosts(r, out)
	c.archive(r, out)
	if v := r.Verify.Sample; !(v > 0 && v <= 1) {
		c.fault("verify.sample", "is %v: give the fraction of the items to read back, above 0 and up to 1 for everything", v)
	}
	if v := r.Verify.DeletableAfter; v != "full" && v != "sample" {
		c.fault("verify.deletable_after", "is %q: use \"full\" or \"sample\"", v)
	}
	out.Verify = Verify{Sample: r.Verify.Sample, DeletableAfter: r.Verify.DeletableAfter, SwapDrives: out.Library.Kind == "scsi"}
	if r.Verify.SwapDrives != nil {
		out.Verify.SwapDrives = *r.Verify.SwapDrives
	}
	c.paperData(r, meta, out)
	c.mount(r, out)
	return out
}

// database is a name that stands in a query as it is.
var database = regexp.MustCompile(`^[0-9A-Za-z_$-]{1,64}$`)

func (c *checker) paperData(r *rawConfig, meta toml.MetaData, out *Config) {
	if !meta.IsDefined("paperdata") {
		return
	}
	p := &r.PaperData
	if p.Credentials == "" {
		c.fault("paperdata.credentials_file", "is missing: name the file whose [client] section says how to reach paper-dump's databases")
	}
	for _, d := range [][2]string{{"paperdata.files_database", p.Files}, {"paperdata.labels_database", p.Labels}} {
		if !database.MatchString(d[1]) {
			c.fault(d[0], "%q is no name of a database: use up to 64 letters, digits, _, $ and -", d[1])
		}
	}
	out.PaperData = PaperData{Credentials: c.abs(p.Credentials), Files: p.Files, Labels: p.Labels}
}

func (c *checker) mount(r *rawConfig, out *Config) {
	m := &r.Mount
	out.Mount = Mount{
		AllowOther: m.AllowOther, AttrTTL: time.Duration(m.AttrTTL),
		Recall: m.Recall, CacheDir: c.abs(m.CacheDir), CacheSize: int64(m.CacheSize), RecallTimeout: time.Duration(m.RecallTimeout),
	}
	if m.CacheDir == "" {
		out.Mount.CacheDir = filepath.Join(out.StateDir, "cache")
	}
	if m.CacheSize < 1<<20 {
		c.fault("mount.cache_size", "is %s: use at least 1 MiB, and more than the largest file that is to be read", bytes(int64(m.CacheSize)))
	}
	if m.RecallTimeout < duration(time.Second) {
		c.fault("mount.recall_timeout", "is %v: use at least \"1s\"; loading a tape alone takes a minute or more", time.Duration(m.RecallTimeout))
	}
}

func (c *checker) ledger(r *rawConfig, out *Config) {
	l := &r.Ledger
	switch l.Driver {
	case "sqlite":
		if l.Credentials != "" {
			c.fault("ledger.credentials_file", "is for driver = \"mysql\"")
		}
		if l.Lease != 0 {
			c.fault("ledger.lease", "is for driver = \"mysql\"")
		}
		if l.Patience != 0 {
			c.fault("ledger.patience", "is for driver = \"mysql\"")
		}
		if out.Ledger.Path = c.abs(l.Path); out.Ledger.Path == "" {
			out.Ledger.Path = filepath.Join(out.StateDir, "ledger.db")
		}
	case "mysql":
		if out.Ledger.Credentials = c.abs(l.Credentials); l.Credentials == "" {
			c.fault("ledger.credentials_file", "is missing: name the file whose [client] section says how to reach MariaDB")
		}
		if l.Path != "" {
			c.fault("ledger.path", "is for driver = \"sqlite\"")
		}
		if out.Ledger.Lease = time.Duration(l.Lease); l.Lease != 0 && out.Ledger.Lease < time.Second {
			c.fault("ledger.lease", "is %v: use at least 1s; 5m is the default", out.Ledger.Lease)
		}
		if out.Ledger.Patience = time.Duration(l.Patience); l.Patience != 0 && out.Ledger.Patience < time.Second {
			c.fault("ledger.patience", "is %v: use at least 1s; 10m is the default", out.Ledger.Patience)
		}
	default:
		c.fault("ledger.driver", "is %q: use \"sqlite\", or \"mysql\" for MariaDB and MySQL", l.Driver)
	}
}

// minRecords is the smallest ring that keeps sources and drives busy.
const minRecords = 16

func (c *checker) archive(r *rawConfig, out *Config) {
	a := &r.Archive
	out.Archive = Archive{
		ArchiveSize: int64(a.ArchiveSize), RecordSize: int(a.RecordSize), FlushBytes: int64(a.FlushBytes), Memory: int64(a.Memory),
	}
	if s := int64(a.RecordSize); s < 4<<10 || s > 1<<20 || s&(s-1) != 0 {
		c.fault("archive.record_size", "is %s: use a power of two from 4 KiB to 1 MiB, such as \"512 KiB\"; "+
			"drives want powers of two, tar multiples of 512 bytes, and some host adapters fail above 1 MiB", bytes(s))
	}
	if a.ArchiveSize < 1<<20 {
		c.fault("archive.archive_size", "is %s: use at least 1 MiB", bytes(int64(a.ArchiveSize)))
	}
	if a.FlushBytes < 1<<20 {
		c.fault("archive.flush_bytes", "is %s: use at least 1 MiB", bytes(int64(a.FlushBytes)))
	}
	if least := max(16<<20, minRecords*int64(a.RecordSize)); int64(a.Memory) < least {
		c.fault("archive.memory", "is %s: use at least %s", bytes(int64(a.Memory)), bytes(least))
	}
	if out.Archive.OnDriveFailure = a.OnDriveFailure; a.OnDriveFailure != "stop" && a.OnDriveFailure != "single" {
		c.fault("archive.on_drive_failure", "is %q: use \"stop\", or \"single\" to finish one tape when the other's drive fails", a.OnDriveFailure)
	}
	if len(a.Sides) != 2 {
		c.fault("archive.sides", "needs two patterns of barcodes, such as [\"PAPR1*\", \"PAPR2*\"]")
		return
	}
	for _, s := range a.Sides {
		if _, err := path.Match(s, ""); err != nil || s == "" {
			c.fault("archive.sides", "%q is no pattern: write it as \"PAPR1*\"", s)
			return
		}
	}
	if overlap(a.Sides[0], a.Sides[1]) {
		c.fault("archive.sides", "a barcode can match both %q and %q: twins come from different sides, give each its own pattern", a.Sides[0], a.Sides[1])
	}
	out.Archive.Sides = [2]string(a.Sides)
}

func bytes(n int64) string {
	if n < 0 {
		return fmt.Sprint(n)
	}
	return humanize.IBytes(uint64(n))
}
