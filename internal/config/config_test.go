package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// start is the least that a configuration needs, in lines 1 to 4.
const start = `state_dir = "state"
[library]
kind = "virtual"
dir = "tapes"
`

func TestDefaults(t *testing.T) {
	got, err := parse("/site/twintape.toml", start)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File: "/site/twintape.toml", StateDir: "/site/state", Ledger: Ledger{Path: "/site/state/ledger.db"},
		Library: Library{Kind: "virtual", Dir: "/site/tapes", Timing: "none"},
		Archive: Archive{ArchiveSize: 12e9, RecordSize: 512 << 10, FlushBytes: 32e9, Memory: 1 << 30, Sides: [2]string{"PAPR1*", "PAPR2*"}, OnDriveFailure: "stop"},
		Verify:  Verify{Sample: 0.25, DeletableAfter: "full"},
		Mount:   Mount{AttrTTL: time.Second, CacheDir: "/site/state/cache", CacheSize: 50e9, RecallTimeout: 30 * time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEverything(t *testing.T) {
	t.Setenv("HOME", "/home/obs")
	got, err := parse("/site/twintape.toml", `
state_dir = "/var/lib/twintape"
ledger = { driver = "sqlite", path = "l.db" }
library = { kind = "virtual", dir = "/srv/tapes", timing = "lto5" }
archive = { archive_size = "1 GB", record_size = 1048576, flush_bytes = "4 GiB", memory = "64 MiB", sides = ["A*", "B*"], on_drive_failure = "single" }
verify = { sample = 1, deletable_after = "sample", swap_drives = true }
mount = { allow_other = true, attr_ttl = "2m", recall = true, cache_dir = "c", cache_size = "1 TB", recall_timeout = "2h" }
[[host]]
name = "pot1"
source = "local"
root = "data"
[[host]]
name = "pot2"
source = "local"
[[host]]
name = "pot5"
aliases = ["pot5.example.org", "p5"]
source = "sftp"
address = "10.0.0.5:2222"
user = "obs"
identity_file = "~/.ssh/id"
known_hosts = "hosts"
ssh_config = "ssh"
root = "/export"
[[host]]
name = "pot6"
source = "sftp"
[[host]]
name = "pot7"
source = "sftp"
ssh_config = "none"
[[host]]
name = "pot8"
source = "nfs"
address = "10.0.0.7"
root = "/data"
exports = ["/data", "/data2"]
uid = 1000
gid = 100
gids = [4294967295]
nfs_port = 2049
mount_port = 20048
[[host]]
name = "pot9"
source = "nfs"
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File: "/site/twintape.toml", StateDir: "/var/lib/twintape", Ledger: Ledger{Path: "/site/l.db"}, Library: Library{Kind: "virtual", Dir: "/srv/tapes", Timing: "lto5"},
		Hosts: []Host{
			{Name: "pot1", Source: "local", Root: "/site/data"},
			{Name: "pot2", Source: "local", Root: "/"},
			{
				Name: "pot5", Aliases: []string{"pot5.example.org", "p5"}, Source: "sftp", Address: "10.0.0.5:2222", User: "obs",
				IdentityFile: "/home/obs/.ssh/id", KnownHosts: "/site/hosts", SSHConfig: "/site/ssh", Root: "/export",
			},
			{Name: "pot6", Source: "sftp", Address: "pot6", SSHConfig: "/home/obs/.ssh/config", Root: "/"},
			{Name: "pot7", Source: "sftp", Address: "pot7", Root: "/"},
			{
				Name: "pot8", Source: "nfs", Address: "10.0.0.7", Root: "/data", Exports: []string{"/data", "/data2"},
				Owner: &Owner{UID: 1000, GID: 100, GIDs: []uint32{4294967295}}, NFSPort: 2049, MountPort: 20048,
			},
			{Name: "pot9", Source: "nfs", Address: "pot9", Root: "/"},
		},
		Archive: Archive{ArchiveSize: 1e9, RecordSize: 1 << 20, FlushBytes: 4 << 30, Memory: 64 << 20, Sides: [2]string{"A*", "B*"}, OnDriveFailure: "single"},
		Verify:  Verify{Sample: 1, DeletableAfter: "sample", SwapDrives: true},
		Mount:   Mount{AllowOther: true, AttrTTL: 2 * time.Minute, Recall: true, CacheDir: "/site/c", CacheSize: 1e12, RecallTimeout: 2 * time.Hour},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRealLibrary(t *testing.T) {
	for text, want := range map[string]Library{
		"changer = \"/dev/sg3\"": {Kind: "scsi", Timing: "none", Changer: "/dev/sg3"},
		"changer = \"/dev/changer\"\ndrives = [\"/dev/nst1\", \"/dev/nst0\"]\nmedia_suffix = \"strip\"\ncompression = true": {
			Kind: "scsi", Timing: "none", Changer: "/dev/changer", Drives: []string{"/dev/nst1", "/dev/nst0"}, StripMedia: true, Compression: true},
	} {
		for verify, swap := range map[string]bool{"": true, "[verify]\nswap_drives = false\n": false} {
			got, err := parse("/site/twintape.toml", "state_dir = \"/s\"\n[library]\nkind = \"scsi\"\n"+text+"\n"+verify)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Library, want) || got.Verify.SwapDrives != swap {
				t.Errorf("%s: %+v, swap drives %v", text, got.Library, got.Verify.SwapDrives)
			}
		}
	}
}

// TestFaults has a line of text for each fault, added after start, and what the message must say.
func TestFaults(t *testing.T) {
	host := "[[host]]\nname = \"pot1\"\n"
	real := "state_dir = \".\"\n[library]\nkind = \"scsi\"\n"
	changer := real + "changer = \"/dev/sg3\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"syntax", start + "[verify]\nsample = = 1\nx = 1\n", "/site/twintape.toml:6: "},
		{"wrong type", start + "[verify]\nsample = \"all\"\n", "/site/twintape.toml:6: verify.sample: incompatible types"},
		{"unknown key", start + "[verify]\nsampel = 1\n", ":6: verify.sampel: there is no such key; the nearest is verify.sample"},
		{"unknown table", start + "[verfiy]\nsample = 1\n", ":5: verfiy: there is no such key; the nearest is verify"},
		{"unknown at the top", "stat_dir = \"x\"\n" + start, ":1: stat_dir: there is no such key; the nearest is state_dir"},
		{"unknown of a host", start + host + "source = \"local\"\nadress = \"x\"\n", ":8: host.adress: there is no such key; the nearest is host.address"},
		{"unknown of the second host", start + host + "source = \"local\"\n[[host]]\nname = \"pot2\"\nsource = \"local\"\nrot = \"/x\"\n",
			":11: host.rot: there is no such key; the nearest is host.root"},

		{"no state", "[library]\nkind = \"virtual\"\ndir = \"x\"\n", "state_dir: is missing"},
		{"ledger", start + "[ledger]\ndriver = \"oracle\"\n", `:6: ledger.driver: is "oracle": use "sqlite"`},
		{"no library", "state_dir = \".\"\n", `library.kind: is missing: use "virtual", or "scsi"`},
		{"library", "state_dir = \".\"\n[library]\nkind = \"robot\"\n", `:3: library.kind: is "robot": use "virtual", or "scsi"`},
		{"no library folder", "state_dir = \".\"\n[library]\nkind = \"virtual\"\n", ":2: library.dir: is missing"},

		{"MySQL", start + "[ledger]\ndriver = \"mysql\"\n", ":5: ledger.credentials_file: is missing: name the file"},
		{"path of MySQL", start + "[ledger]\ndriver = \"mysql\"\ncredentials_file = \"my.cnf\"\npath = \"x\"\n", ":8: ledger.path: is for driver = \"sqlite\""},
		{"short lease", start + "[ledger]\ndriver = \"mysql\"\ncredentials_file = \"my.cnf\"\nlease = \"5ms\"\n", ":8: ledger.lease: is 5ms: use at least 1s"},
		{"short patience", start + "[ledger]\ndriver = \"mysql\"\ncredentials_file = \"my.cnf\"\npatience = \"5ms\"\n", ":8: ledger.patience: is 5ms: use at least 1s"},
		{"patience of SQLite", start + "[ledger]\npatience = \"5m\"\n", ":6: ledger.patience: is for driver = \"mysql\""},
		{"lease of SQLite", start + "[ledger]\nlease = \"5m\"\n", ":6: ledger.lease: is for driver = \"mysql\""},
		{"ledger driver", start + "[ledger]\ndriver = \"oracle\"\n", ":6: ledger.driver: is \"oracle\": use"},
		{"credentials", start + "[ledger]\ncredentials_file = \"my.cnf\"\n", ":6: ledger.credentials_file: is for driver"},
		{"no changer", real, ":2: library.changer: is missing: name the changer's node"},
		{"changer", real + "changer = \"sg3\"\n", ":4: library.changer: is \"sg3\": name a node from /"},
		{"drive", changer + "drives = [\"nst0\"]\n", ":5: library.drives: \"nst0\": name a node from /"},
		{"drive twice", changer + "drives = [\"/dev/nst0\", \"/dev/nst0\"]\n", ":5: library.drives: \"/dev/nst0\" is named twice"},
		{"suffix", changer + "media_suffix = \"L5\"\n", ":5: library.media_suffix: is \"L5\": use \"keep\", or \"strip\""},
		{"a real library's folder", changer + "dir = \"x\"\n", `:5: library.dir: is for libraries of kind "virtual"; this one is "scsi"`},
		{"a real library's timing", changer + "timing = \"lto5\"\n", `:5: library.timing: is for libraries of kind "virtual"`},
		{"a virtual library's changer", start + "changer = \"/dev/sg3\"\n", `:5: library.changer: is for libraries of kind "scsi"; this one is "virtual"`},
		{"a virtual library's compression", start + "compression = false\n", `:5: library.compression: is for libraries of kind "scsi"`},
		{"timing", start + "timing = \"dds\"\n", ":5: library.timing: is \"dds\""},
		{"exports of a local host", start + host + "source = \"local\"\nexports = [\"/data\"]\n", ":8: host.exports: host pot1 is local: take the key out"},
		{"uid of an SFTP host", start + host + "source = \"sftp\"\nuid = 0\n", ":8: host.uid: host pot1 is sftp: take the key out"},
		{"NFS with a user", start + host + "source = \"nfs\"\nuser = \"x\"\n", ":8: host.user: host pot1 is nfs: take the key out"},
		{"NFS with a port", start + host + "source = \"nfs\"\naddress = \"a:2049\"\n", ":8: host.address: host pot1: \"a:2049\" is no address"},
		{"NFS's root", start + host + "source = \"nfs\"\nroot = \"data\"\n", ":8: host.root: host pot1: \"data\" is a folder of that host"},
		{"export", start + host + "source = \"nfs\"\nexports = [\"data\"]\n", ":8: host.exports: host pot1: \"data\" is a folder of that host"},
		{"no export", start + host + "source = \"nfs\"\nexports = []\n", ":8: host.exports: host pot1: is empty"},
		{"NFS port", start + host + "source = \"nfs\"\nnfs_port = 0\n", ":8: host.nfs_port: host pot1: 0 is no port"},
		{"mount port", start + host + "source = \"nfs\"\nmount_port = 65536\n", ":8: host.mount_port: host pot1: 65536 is no port"},
		{"uid alone", start + host + "source = \"nfs\"\nuid = 1\n", "host.gid: host pot1: is missing: give uid and gid together"},
		{"gids alone", start + host + "source = \"nfs\"\ngids = [1]\n", "host.uid: host pot1: is missing: give uid and gid together"},
		{"uid", start + host + "source = \"nfs\"\nuid = -1\ngid = 1\n", ":8: host.uid: host pot1: -1 is no number of a user"},
		{"gids", start + host + "source = \"nfs\"\nuid = 1\ngid = 1\ngids = [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]\n", ":10: host.gids: host pot1: has 17 groups"},
		{"paper-dump", start + "[paperdata]\nfiles_database = \"p\"\n", ":5: paperdata.credentials_file: is missing: name the file"},
		{"paper-dump's files", start + "[paperdata]\ncredentials_file = \"x\"\nfiles_database = \"a`b\"\n", ":7: paperdata.files_database: \"a`b\" is no name"},
		{"paper-dump's labels", start + "[paperdata]\ncredentials_file = \"x\"\nlabels_database = \"\"\n", ":7: paperdata.labels_database: \"\" is no name"},
		{"paper-dump's key", start + "[paperdata]\ncredentials_file = \"x\"\nfile_database = \"x\"\n", ":7: paperdata.file_database: there is no such key; the nearest is paperdata.files_database"},
		{"cache", start + "[mount]\ncache_size = 4096\n", ":6: mount.cache_size: is 4.0 KiB: use at least 1 MiB"},
		{"recall timeout", start + "[mount]\nrecall_timeout = \"0s\"\n", ":6: mount.recall_timeout: is 0s: use at least"},
		{"recall", start + "[mount]\nrecal = true\n", ":6: mount.recal: there is no such key; the nearest is mount.recall"},
		{"mount", start + "[mount]\nattr_ttl = \"soon\"\n", `"soon" is no time: write it as "1s" or "5m"`},
		{"status page", start + "[serve]\nlisten = \":80\"\n", ":5: serve: the status page is not in this version"},

		{"host without a name", start + "[[host]]\nsource = \"local\"\n", ":5: host.name: is missing from the first host"},
		{"host's name", start + "[[host]]\nname = \"a:b\"\nsource = \"local\"\n", `:6: host.name: "a:b": use letters`},
		{"host's dot", start + "[[host]]\nname = \".twintape\"\nsource = \"local\"\n", `:6: host.name: ".twintape": use letters`},
		{"host tapes", start + "[[host]]\nname = \"tapes\"\nsource = \"local\"\n", `:6: host.name: "tapes" is where`},
		{"two of a name", start + host + "source = \"local\"\n[[host]]\nname = \"pot1\"\nsource = \"local\"\n",
			`:9: host.name: "pot1" is given to host pot1 and to host pot1`},
		{"alias of another", start + host + "source = \"local\"\n[[host]]\nname = \"pot2\"\naliases = [\"pot1\"]\nsource = \"local\"\n",
			`:10: host.aliases: "pot1" is given to host pot1 and to host pot2`},
		{"value of the second host", start + host + "source = \"sftp\"\nroot = \"/x\"\n[[host]]\nname = \"pot2\"\nsource = \"sftp\"\nroot = \"y\"\n",
			`:12: host.root: host pot2: "y" is a folder of that host`},
		{"missing from the second host", start + host + "source = \"local\"\n[[host]]\nname = \"pot2\"\n", `:8: host.source: host pot2: is ""`},
		{"source", start + host + "source = \"ftp\"\n", `:7: host.source: host pot1: is "ftp"`},
		{"no source", start + host, `host.source: host pot1: is "": use "local", "sftp" or "nfs"`},
		{"local with an address", start + host + "source = \"local\"\naddress = \"x\"\n", ":8: host.address: host pot1 is local"},
		{"local with a user", start + host + "source = \"local\"\nuser = \"x\"\n", ":8: host.user: host pot1 is local"},
		{"sftp's root", start + host + "source = \"sftp\"\nroot = \"data\"\n", `:8: host.root: host pot1: "data" is a folder of that host: give it from /`},

		{"address", start + host + "source = \"sftp\"\naddress = \"a:b:22\"\n", `:8: host.address: host pot1: "a:b:22" is no address`},
		{"address with a user", start + host + "source = \"sftp\"\naddress = \"obs@a\"\n", `:8: host.address: host pot1: "obs@a" is no address`},
		{"port", start + host + "source = \"sftp\"\naddress = \"a:65536\"\n", `:8: host.address: host pot1: "a:65536" is no address`},
		{"port 0", start + host + "source = \"sftp\"\naddress = \"a:0\"\n", `:8: host.address: host pot1: "a:0" is no address`},
		{"port alone", start + host + "source = \"sftp\"\naddress = \":22\"\n", `:8: host.address: host pot1: ":22" is no address`},

		{"no size", start + "[archive]\nmemory = \"much\"\n", `twintape.toml:6: "much" is no size`},
		{"a size of 9 EB", start + "[archive]\nmemory = \"9000000 TB\"\n", `is no size`},
		{"a size that is true", start + "[archive]\nmemory = true\n", "a size is a number of bytes or a text"},
		{"record of 2 MiB", start + "[archive]\nrecord_size = \"2 MiB\"\n", ":6: archive.record_size: is 2.0 MiB"},
		{"record of 512", start + "[archive]\nrecord_size = 512\n", ":6: archive.record_size: is 512 B"},
		{"record of 300 kB", start + "[archive]\nrecord_size = 300000\n", ":6: archive.record_size: is 293 KiB"},
		{"negative record", start + "[archive]\nrecord_size = -1\n", ":6: archive.record_size: is -1"},
		{"small archives", start + "[archive]\narchive_size = 1\n", ":6: archive.archive_size: is 1 B: use at least 1 MiB"},
		{"small flushes", start + "[archive]\nflush_bytes = 1\n", ":6: archive.flush_bytes: is 1 B: use at least 1 MiB"},
		{"small memory", start + "[archive]\nmemory = \"15 MiB\"\n", ":6: archive.memory: is 15 MiB: use at least 16 MiB"},
		{"drive failure", start + "[archive]\non_drive_failure = \"go on\"\n", `:6: archive.on_drive_failure: is "go on": use "stop", or "single"`},
		{"one side", start + "[archive]\nsides = [\"A*\"]\n", ":6: archive.sides: needs two patterns"},
		{"same sides", start + "[archive]\nsides = [\"A*\", \"A*\"]\n", `:6: archive.sides: a barcode can match both "A*" and "A*"`},
		{"sides that overlap", start + "[archive]\nsides = [\"PAPR*\", \"PAPR2*\"]\n", `:6: archive.sides: a barcode can match both "PAPR*" and "PAPR2*"`},
		{"bad side", start + "[archive]\nsides = [\"A[\", \"B*\"]\n", `:6: archive.sides: "A[" is no pattern`},
		{"empty side", start + "[archive]\nsides = [\"\", \"B*\"]\n", `:6: archive.sides: "" is no pattern`},
		{"sample of nothing", start + "[verify]\nsample = 0\n", ":6: verify.sample: is 0:"},
		{"sample of too much", start + "[verify]\nsample = 1.5\n", ":6: verify.sample: is 1.5:"},
		{"sample of nan", start + "[verify]\nsample = nan\n", ":6: verify.sample: is NaN:"},
		{"deletable", start + "[verify]\ndeletable_after = \"never\"\n", `:6: verify.deletable_after: is "never"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse("/site/twintape.toml", c.text)
			if err == nil {
				t.Fatalf("taken as %+v", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != 1 {
				t.Errorf("%d faults for one:\n%v", n, err)
			}
		})
	}
}

func TestPaperData(t *testing.T) {
	for text, want := range map[string]PaperData{
		"": {},
		"[paperdata]\ncredentials_file = \"my.cnf\"\n":                                                    {"/site/my.cnf", "paperdata", "mtx"},
		"[paperdata]\ncredentials_file = \"/x\"\nfiles_database = \"a-b\"\nlabels_database = \"mtx$2\"\n": {"/x", "a-b", "mtx$2"},
	} {
		c, err := parse("/site/twintape.toml", start+text)
		if err != nil {
			t.Fatal(err)
		}
		if c.PaperData != want {
			t.Errorf("%q is %+v, want %+v", text, c.PaperData, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, a := range []string{"pot5", "pot5.example.org:2222", "10.0.0.5", "10.0.0.5:22", "2001:db8::5", "[2001:db8::5]", "[2001:db8::5]:22", "fe80::1%eth0"} {
		c, err := parse("/site/twintape.toml", start+"[[host]]\nname = \"pot5\"\nsource = \"sftp\"\naddress = \""+a+"\"\n")
		if err != nil {
			t.Error(err)
		} else if c.Hosts[0].Address != a {
			t.Errorf("%s became %s", a, c.Hosts[0].Address)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := parse("t.toml", start+"[verify]\nsample = 2\ndeletable_after = \"x\"\n[ledgre]\nx = 1\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults: %v", err)
	}
}

func TestSampleFile(t *testing.T) {
	c, err := Load("../../etc/twintape.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hosts) != 3 || c.Hosts[0].Source != "local" || c.Hosts[1].Source != "sftp" || c.Hosts[2].Source != "nfs" {
		t.Errorf("hosts %+v", c.Hosts)
	}
	// What it shows commented out is the default, so with the comment signs taken away it says the same.
	text, err := os.ReadFile("../../etc/twintape.toml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if bare := strings.TrimPrefix(line, "# "); strings.Contains(strings.SplitN(bare, "#", 2)[0], " = ") {
			line = bare
		}
		lines = append(lines, line)
	}
	shown, err := parse(c.File, strings.Join(lines, ""))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(shown, c) {
		t.Errorf("its comments are not the defaults:\n%+v\n%+v", shown, c)
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TWINTAPE_CONFIG", "")
	places := Places
	t.Cleanup(func() { Places = places })
	Places = []string{"twintape.toml", filepath.Join(t.TempDir(), "etc.toml")}
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), "twintape init --dir DIR") {
		t.Errorf("nothing there: %v", err)
	}
	for i := len(Places) - 1; i >= 0; i-- {
		if err := os.WriteFile(Places[i], []byte(start), 0o644); err != nil {
			t.Fatal(err)
		}
		if f, err := Find(""); err != nil || f != Places[i] {
			t.Errorf("%s, %v, want %s", f, err, Places[i])
		}
	}
	t.Setenv("TWINTAPE_CONFIG", "env.toml")
	if f, err := Find(""); err != nil || f != "env.toml" {
		t.Errorf("%s, %v, want the environment's", f, err)
	}
	if f, err := Find("flag.toml"); err != nil || f != "flag.toml" {
		t.Errorf("%s, %v, want the flag's", f, err)
	}
	if _, err := Load("flag.toml"); err == nil || !strings.Contains(err.Error(), "flag.toml") || !strings.Contains(err.Error(), "twintape init") {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	sample, err := os.ReadFile("../../etc/twintape.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	f.Add(start)
	f.Add(start + "[[host]]\nname = \"a\"\nsource = \"sftp\"\n[verify]\nsample = 2\n[mount]\nx = 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("/site/twintape.toml", text)
		if err != nil {
			if c != nil {
				t.Error("a configuration with faults is returned")
			}
			return
		}
		// Whatever is taken can be worked with.
		if !filepath.IsAbs(c.StateDir) || !filepath.IsAbs(c.Library.Dir) || !filepath.IsAbs(c.Ledger.Path) {
			t.Errorf("a relative path: %+v", c)
		}
		if a := c.Archive; a.RecordSize < 4<<10 || a.ArchiveSize <= 0 || a.FlushBytes <= 0 || a.Memory < minRecords*int64(a.RecordSize) {
			t.Errorf("sizes: %+v", a)
		}
		if !(c.Verify.Sample > 0 && c.Verify.Sample <= 1) {
			t.Errorf("sample: %v", c.Verify.Sample)
		}
		names := make(map[string]bool)
		for _, h := range c.Hosts {
			for _, n := range append([]string{h.Name}, h.Aliases...) {
				if names[n] || strings.ContainsAny(n, ":/") {
					t.Errorf("host name %q", n)
				}
				names[n] = true
			}
		}
	})
}
