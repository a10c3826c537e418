package config

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/dustin/go-humanize"
)

// rawConfig is the file as it is written.
type rawConfig struct {
	StateDir string `toml:"state_dir"`
	Ledger   struct {
		Driver string `toml:"driver"`
		Path   string `toml:"path"`
	} `toml:"ledger"`
	Library struct {
		Kind   string `toml:"kind"`
		Dir    string `toml:"dir"`
		Timing string `toml:"timing"`
	} `toml:"library"`
	Hosts   []rawHost `toml:"host"`
	Archive struct {
		ArchiveSize size     `toml:"archive_size"`
		RecordSize  size     `toml:"record_size"`
		FlushBytes  size     `toml:"flush_bytes"`
		Memory      size     `toml:"memory"`
		Sides       []string `toml:"sides"`
	} `toml:"archive"`
	Verify struct {
		Sample         float64 `toml:"sample"`
		DeletableAfter string  `toml:"deletable_after"`
		SwapDrives     bool    `toml:"swap_drives"`
	} `toml:"verify"`
}

type rawHost struct {
	Name         string   `toml:"name"`
	Aliases      []string `toml:"aliases"`
	Source       string   `toml:"source"`
	Address      string   `toml:"address"`
	User         string   `toml:"user"`
	IdentityFile string   `toml:"identity_file"`
	KnownHosts   string   `toml:"known_hosts"`
	Root         string   `toml:"root"`
}

func defaults() rawConfig {
	var r rawConfig
	r.Ledger.Driver = "sqlite"
	r.Library.Timing = "none"
	r.Archive.ArchiveSize = 12e9
	r.Archive.RecordSize = 512 << 10
	r.Archive.FlushBytes = 32e9
	r.Archive.Memory = 1 << 30
	r.Archive.Sides = []string{"PAPR1*", "PAPR2*"}
	r.Verify.Sample = 0.25
	r.Verify.DeletableAfter = "full"
	return r
}

// later are keys and values that the design has and this version does not.
var later = map[string]string{
	"ledger.credentials_file": "the MySQL ledger",
	"library.changer":         "a library behind the Linux st driver",
	"library.drives":          "a library behind the Linux st driver",
	"host.exports":            "NFS hosts",
	"mount":                   "the mount",
	"serve":                   "the status page",
}

// known are the keys of this version, as the file spells them with their tables.
var known = []string{
	"state_dir", "ledger", "ledger.driver", "ledger.path", "library", "library.kind", "library.dir", "library.timing",
	"host", "host.name", "host.aliases", "host.source", "host.address", "host.user", "host.identity_file", "host.known_hosts", "host.root",
	"archive", "archive.archive_size", "archive.record_size", "archive.flush_bytes", "archive.memory", "archive.sides",
	"verify", "verify.sample", "verify.deletable_after", "verify.swap_drives",
}

// checker collects faults.
type checker struct {
	file   string
	dir    string
	text   string
	faults []error
}

func (c *checker) fault(key, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s%s: %s: %s", c.file, c.line(key), key, fmt.Sprintf(format, args...)))
}

// line finds where a key is written, as ":12"; empty if it is not there.
func (c *checker) line(key string) string {
	table, name, _ := strings.Cut(key, ".")
	if name == "" {
		table, name = "", key
	}
	in := ""
	for i, l := range strings.Split(c.text, "\n") {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			in = strings.Trim(strings.SplitN(l, "#", 2)[0], "[] \t")
			if in == key {
				return fmt.Sprintf(":%d", i+1)
			}
		}
		if k, _, ok := strings.Cut(l, "="); ok && in == table && strings.Trim(k, " \t\"'") == name {
			return fmt.Sprintf(":%d", i+1)
		}
	}
	return ""
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
	switch r.Ledger.Driver {
	case "sqlite":
	case "mysql":
		c.fault("ledger.driver", "the MySQL ledger is not in this version: use \"sqlite\"")
	default:
		c.fault("ledger.driver", "is %q: use \"sqlite\"", r.Ledger.Driver)
	}
	if out.Ledger.Path = c.abs(r.Ledger.Path); out.Ledger.Path == "" {
		out.Ledger.Path = filepath.Join(out.StateDir, "ledger.db")
	}
	switch r.Library.Kind {
	case "virtual":
		if out.Library.Dir = c.abs(r.Library.Dir); r.Library.Dir == "" {
			c.fault("library.dir", "is missing: name the folder of the virtual library")
		}
	case "scsi":
		c.fault("library.kind", "a library behind the Linux st driver is not in this version: use \"virtual\"")
	case "":
		c.fault("library.kind", "is missing: use \"virtual\"")
	default:
		c.fault("library.kind", "is %q: use \"virtual\"", r.Library.Kind)
	}
	switch out.Library.Timing = r.Library.Timing; r.Library.Timing {
	case "none", "lto5", "lto6", "lto7", "lto8", "lto9":
	default:
		c.fault("library.timing", "is %q: use \"none\", or \"lto5\" to \"lto9\" for drives as slow as real ones", r.Library.Timing)
	}
	c.hosts(r, out)
	c.archive(r, out)
	if v := r.Verify.Sample; !(v > 0 && v <= 1) {
		c.fault("verify.sample", "is %v: give the fraction of the items to read back, above 0 and up to 1 for everything", v)
	}
	if v := r.Verify.DeletableAfter; v != "full" && v != "sample" {
		c.fault("verify.deletable_after", "is %q: use \"full\" or \"sample\"", v)
	}
	out.Verify = Verify{Sample: r.Verify.Sample, DeletableAfter: r.Verify.DeletableAfter, SwapDrives: r.Verify.SwapDrives}
	return out
}

// minRecords is the smallest ring that keeps sources and drives busy.
const minRecords = 16

func (c *checker) archive(r *rawConfig, out *Config) {
	a := &r.Archive
	out.Archive = Archive{
		ArchiveSize: int64(a.ArchiveSize), RecordSize: int(a.RecordSize), FlushBytes: int64(a.FlushBytes), Memory: int64(a.Memory),
	}
	// Above 1 MiB some host adapters fail; tar wants multiples of 512; a power of two is what drives are made for.
	if s := int64(a.RecordSize); s < 4<<10 || s > 1<<20 || s&(s-1) != 0 {
		c.fault("archive.record_size", "is %s: use a power of two from 4 KiB to 1 MiB, such as \"512 KiB\"", bytes(s))
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
	if len(a.Sides) != 2 {
		c.fault("archive.sides", "needs two patterns of barcodes, such as [\"PAPR1*\", \"PAPR2*\"]")
		return
	}
	for _, s := range a.Sides {
		if _, err := path.Match(s, ""); err != nil || s == "" {
			c.fault("archive.sides", "%q is no pattern: write it as \"PAPR1*\"", s)
		}
	}
	if a.Sides[0] == a.Sides[1] {
		c.fault("archive.sides", "both are %q: twins come from different sides, give each its own pattern", a.Sides[0])
	}
	out.Archive.Sides = [2]string(a.Sides)
}

func bytes(n int64) string {
	if n < 0 {
		return fmt.Sprint(n)
	}
	return humanize.IBytes(uint64(n))
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (c *checker) hosts(r *rawConfig, out *Config) {
	taken := make(map[string]string)
	for i, h := range r.Hosts {
		name := h.Name
		if name == "" {
			c.fault("host.name", "is missing from the %s host", ordinal(i+1))
			continue
		}
		for _, n := range append([]string{name}, h.Aliases...) {
			switch {
			case !hostName.MatchString(n):
				c.fault("host.name", "%q: use letters, digits, dots, hyphens and underscores, a letter or digit first", n)
			case n == "tapes":
				c.fault("host.name", "\"tapes\" is where the catalogs are shown: choose another name")
			case taken[n] != "":
				c.fault("host.name", "%q is given to host %s and to host %s", n, taken[n], name)
			}
			taken[n] = name
		}
		o := Host{
			Name: name, Aliases: slices.Clone(h.Aliases), Source: h.Source, Address: h.Address, User: h.User,
			IdentityFile: c.abs(home(h.IdentityFile)), KnownHosts: c.abs(home(h.KnownHosts)), Root: h.Root,
		}
		switch h.Source {
		case "local":
			if o.Root = c.abs(h.Root); o.Root == "" {
				o.Root = "/"
			}
			for _, kv := range [][2]string{{"address", h.Address}, {"user", h.User}, {"identity_file", h.IdentityFile}, {"known_hosts", h.KnownHosts}} {
				if kv[1] != "" {
					c.fault("host."+kv[0], "host %s is local: take the key out", name)
				}
			}
		case "sftp":
			if o.Address == "" {
				o.Address = name
			}
			if o.Root == "" {
				o.Root = "/"
			}
			if !path.IsAbs(o.Root) {
				c.fault("host.root", "host %s: %q is a folder of that host: give it from / on", name, h.Root)
			}
		case "nfs":
			c.fault("host.source", "host %s: NFS is not in this version: mount it and use \"local\", or use \"sftp\"", name)
		default:
			c.fault("host.source", "host %s: is %q: use \"local\" or \"sftp\"", name, h.Source)
		}
		out.Hosts = append(out.Hosts, o)
	}
}

// home replaces a leading ~/.
func home(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	return p
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
