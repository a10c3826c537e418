//go:build guest

package scsi

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// site is a configured twintape before a rig, with a local host.
type site struct {
	*rig
	folder string
	user   *syscall.SysProcAttr // who runs twintape; nil is root
}

const siteCapacity = 256 << 20

func newSite(t *testing.T, more ...string) *site {
	t.Helper()
	s := &site{rig: newRigOf(t, 2, siteCapacity, append([]string{"PAPR1001", "PAPR2001"}, more...)...)}
	s.folder = filepath.Join(filepath.Dir(s.dir), "site")
	s.run(0, "init", "--dir", s.folder, "--changer", s.changer)
	config, err := os.ReadFile(s.file())
	must(t, err)
	text := strings.NewReplacer(`"1 GiB"   #`, `"8 MB" #`, `"4 GiB"`, `"16 MB"`, `memory = "1 GiB"`, `memory = "32 MiB"`).Replace(string(config))
	text += fmt.Sprintf("\n[[host]]\nname = \"pot1\"\nsource = \"local\"\nroot = %q\n", s.data())
	must(t, os.WriteFile(s.file(), []byte(text), 0o644))
	s.run(0, append([]string{"tapes", "add", "PAPR1001", "PAPR2001"}, more...)...)
	return s
}

func (s *site) file() string { return filepath.Join(s.folder, "twintape.toml") }
func (s *site) data() string { return filepath.Join(filepath.Dir(s.folder), "data") }

// observe makes items of some files.
func (s *site) observe(first, count int) {
	s.t.Helper()
	random := rand.NewChaCha8([32]byte{byte(first)})
	for i := first; i < first+count; i++ {
		dir := filepath.Join(s.data(), fmt.Sprintf("zen.%d.uv", i))
		must(s.t, os.MkdirAll(dir, 0o755))
		for name, size := range map[string]int{"visdata": 3<<20 + i*1000, "header": 700, "history": 40_000} {
			b := make([]byte, size)
			random.Read(b)
			must(s.t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
		}
	}
	s.run(0, "queue", "add", "pot1:/zen.*.uv")
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command("twintape", args...)
	cmd.Env = append(os.Environ(), "TWINTAPE_CONFIG="+s.file())
	cmd.SysProcAttr = s.user
	return cmd
}

// run runs twintape and returns what it printed, on either channel; with a code of -1 it may end with any.
func (s *site) run(code int, args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		must(s.t, err)
	}
	if code >= 0 && got != code {
		s.t.Fatalf("twintape %s ended with %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

func (s *site) wants(what, out string, wanted ...string) {
	s.t.Helper()
	for _, w := range wanted {
		if !strings.Contains(out, w) {
			s.t.Errorf("%s: %q is not in\n%s", what, w, out)
		}
	}
}

// whole makes sure that everything is archived on both tapes, to the last byte.
func (s *site) whole() {
	s.t.Helper()
	s.run(0, "verify", "--full", "PAPR1001", "PAPR2001")
	if out := s.run(0, "copies"); strings.Contains(out, "pot1:") {
		s.t.Errorf("not proven good on two tapes:\n%s", out)
	}
	if out := s.run(0, "queue", "ls"); strings.Contains(out, "pot1:") {
		s.t.Errorf("still queued:\n%s", out)
	}
}

// The main job on a real library, a second session behind the first, and everything back by the label's own commands.
func TestSite(t *testing.T) {
	s := newSite(t)
	s.observe(1, 8)
	out := s.run(0, "archive")
	t.Log(out)
	s.observe(20, 3)
	s.run(0, "archive", "--full")
	s.whole()
	s.wants("tapes show", s.run(0, "tapes", "show", "PAPR1001"), "wrote 28 MB", "session 2")
	s.restored()
	// The ledger is lost, and comes back from the tapes.
	must(t, os.RemoveAll(filepath.Join(s.folder, "ledger.db")))
	for _, rest := range []string{"-wal", "-shm"} {
		must(t, os.RemoveAll(filepath.Join(s.folder, "ledger.db"+rest)))
	}
	t.Log(s.run(0, "scan", "PAPR1001", "PAPR2001"))
	s.restored()
	s.whole()
	s.recover()
}

// restored restores everything and compares it with the disk.
func (s *site) restored() {
	s.t.Helper()
	to := s.t.TempDir()
	s.t.Log(s.run(0, "restore", "pot1:/", "--to", to))
	if out, err := exec.Command("diff", "-r", s.data(), filepath.Join(to, "pot1")).CombinedOutput(); err != nil {
		s.t.Errorf("what was restored differs: %v\n%.500s", err, out)
	}
}

// recover does what the volume label says, word for word, and compares what comes back with the disk.
func (s *site) recover() {
	t := s.t
	run := func(command string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", command)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run("mtx -f " + s.changer + " load 2 1")
	label, err := exec.Command("sh", "-ec", fmt.Sprintf("mt -f %s setblk 0 && dd if=%s bs=1M count=1", s.nodes[1], s.nodes[1])).Output()
	must(t, err)
	var commands []string
	for line := range strings.Lines(string(label)) {
		if strings.HasPrefix(line, "  ") && (strings.Contains(line, "/dev/nst0") || strings.Contains(line, "md5sum") || strings.HasPrefix(line, "  N=")) {
			commands = append(commands, strings.ReplaceAll(strings.TrimSpace(line), "/dev/nst0", s.nodes[1]))
		}
	}
	if len(commands) < 13 {
		t.Fatalf("the label has these commands: %q", commands)
	}
	dir := t.TempDir()
	file := 1
	for _, c := range commands {
		number := strconv.Itoa(file)
		c = strings.ReplaceAll(c, "asf N", "asf "+number)
		if strings.HasPrefix(c, "N=1") {
			continue // with the next
		}
		if strings.HasPrefix(c, "while") {
			c = "N=1; " + c
		}
		cmd := exec.Command("sh", "-c", c)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
		if m := regexp.MustCompile(`File number=([0-9]+)`).FindSubmatch(out); m != nil {
			file, err = strconv.Atoi(string(m[1]))
			must(t, err)
			file-- // "take one less"
		}
		if strings.Contains(c, "catalog.jsonl") && !bytes.Contains(out, []byte("zen.20.uv")) {
			t.Errorf("%s printed\n%.300s", c, out)
		}
		if strings.Contains(c, "md5sum") && bytes.Contains(out, []byte("FAILED")) {
			t.Errorf("%s printed\n%s", c, out)
		}
	}
	if out, err := exec.Command("diff", "-r", s.data(), filepath.Join(dir, "pot1")).CombinedOutput(); err != nil {
		t.Errorf("what came back differs: %v\n%.500s", err, out)
	}
	// One member alone, as find says.
	out := s.run(0, "find", "--commands", "zen.20.uv/visdata")
	var one []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "mt ") || strings.HasPrefix(line, "dd if=/dev/nst0 ") || strings.Contains(line, "md5sum -c") {
			one = append(one, strings.ReplaceAll(line, "/dev/nst0", s.nodes[1]))
		}
	}
	if len(one) < 4 {
		t.Fatalf("find --commands printed\n%s", out)
	}
	t.Log(run(strings.Join(one[:4], "\n")))
	run("mt -f " + s.nodes[1] + " offline && mtx -f " + s.changer + " unload 2 1")
}

// Whatever fails, what is on tape stays true, and later runs bring everything onto both tapes.
func TestSiteFaults(t *testing.T) {
	for _, c := range []struct {
		name, faults string
		lost         bool // the beginning of PAPR1001 is overwritten
	}{
		{name: "write", faults: "fail drive0 write 20 3/0C/00"},
		{name: "write of the label", faults: "fail drive1 write 1 3/0C/00"},
		{name: "filemark", faults: "fail drive0 filemarks 3 3/0C/00"},
		{name: "reset while writing", faults: "reset drive1 write 25"},
		{name: "silent reset while writing", faults: "lose drive0 write 25", lost: true},
		{name: "reset at a flush", faults: "reset drive0 filemarks 3"},
		{name: "locate", faults: "fail drive1 locate 1 4/15/01"},
		{name: "read", faults: "fail drive0 read 30 4/44/00"},
		{name: "load", faults: "fail drive0 load * 4/53/00"},
		{name: "move", faults: "fail changer move 2 4/15/01"},
		{name: "moves back", faults: "fail changer move 3 4/15/01\nfail changer move 4 4/15/01"},
		{name: "offline", faults: "offline"},
		{name: "cleaning and alerts", faults: "clean drive0\nalert drive1 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.observe(1, 8)
			s.faults(c.faults + "\n")
			t.Log(s.run(-1, "archive"))
			s.faults("")
			if c.lost {
				s.wants("resume", s.run(5, "resume", "1"), "a hold is set", "may be overwritten")
				s.run(0, "unhold")
				s.wants("resume --single", s.run(1, "resume", "1", "--single"), "has no copy on PAPR1001")
				s.run(0, "verify", "--full", "PAPR2001")
				s.wants("copies", s.run(0, "copies"), "zen.1.uv", "zen.8.uv")
				s.run(1, "verify", "PAPR1001")
				return
			}
			for range 3 {
				s.run(-1, "unhold")
				if out := s.run(-1, "archive"); strings.Contains(out, "nothing is queued") {
					break
				} else {
					t.Log(out)
				}
			}
			for _, b := range []string{"PAPR1001", "PAPR2001"} {
				s.run(-1, "tapes", "trust", b)
			}
			s.whole()
		})
	}
}

// A process that is killed while it writes leaves what was flushed, and the next run goes on behind that.
func TestSiteKilled(t *testing.T) {
	s := newSite(t)
	s.observe(1, 8)
	s.faults("hang drive0 write 40\n") // behind the first flush, and before the end: it cannot come to that
	cmd := s.command("archive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	for {
		if jobs := s.run(-1, "jobs", "show", "1"); strings.Contains(jobs, "writing") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(3 * time.Second)
	must(t, cmd.Process.Kill())
	s.faults("")
	cmd.Wait() //nolint:errcheck // it was killed
	s.run(0, "archive")
	s.whole()
}

// A tape of somebody else in a slot is named, left alone, and overwritten only when its owner says so.
func TestSiteForeign(t *testing.T) {
	s := newSite(t)
	script := fmt.Sprintf("mtx -f %s load 1 0 && mt -f %s setblk 0 && tar -b 128 -cf %s /bin/busybox && mt -f %s offline && mtx -f %s unload 1 0",
		s.changer, s.nodes[0], s.nodes[0], s.nodes[0], s.changer)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.observe(1, 2)
	s.wants("archive", s.run(1, "archive"), `holds a tar archive that begins with "bin/busybox"`, "nothing was written to it")
	s.run(0, "unhold")
	s.wants("label", s.run(0, "tapes", "label", "PAPR1001"), "holds a tar archive")
	s.wants("archive", s.run(1, "archive"), "holds a tar archive")
	s.run(0, "unhold")
	s.wants("label --overwrite", s.run(0, "tapes", "label", "--overwrite", "PAPR1001"), "it may be overwritten now")
	s.run(0, "archive")
	s.whole()
	s.wants("label --overwrite", s.run(1, "tapes", "label", "--overwrite", "PAPR1001"), "is never overwritten")
}

// Another user than root needs the nodes and one capability, no more.
func TestSiteUnprivileged(t *testing.T) {
	s := newSite(t)
	s.observe(1, 2)
	const user = 1000
	for _, n := range append([]string{s.changer}, s.nodes...) {
		nodes := []string{n}
		if generic, err := filepath.Glob("/sys/class/scsi_tape/" + filepath.Base(n) + "/device/scsi_generic/*"); err == nil && len(generic) == 1 {
			nodes = append(nodes, "/dev/"+filepath.Base(generic[0]))
		}
		for _, n := range nodes {
			must(t, os.Chown(n, 0, user))
			must(t, os.Chmod(n, 0o660))
		}
	}
	for _, p := range []string{filepath.Dir(filepath.Dir(s.folder)), filepath.Dir(s.folder)} {
		must(t, os.Chmod(p, 0o755))
	}
	must(t, filepath.WalkDir(s.folder, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, user, user)
	}))
	s.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	s.wants("without capabilities", s.run(1, "archive"), "CAP_SYS_ADMIN")
	s.user.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	s.run(0, "archive")
	s.whole()
}

// Two runs at once: the second is told who has the library.
func TestSiteBusy(t *testing.T) {
	s := newSite(t)
	lib, err := Open(context.Background(), Config{Changer: s.changer})
	must(t, err)
	defer lib.Close()
	s.observe(1, 1)
	s.wants("archive", s.run(5, "archive"), "the tape library is in use", fmt.Sprintf("held by process %d", os.Getpid()))
}

// A new twin is made on real drives, takes the old one's place, and is looked at as one that is due.
func TestSiteTwin(t *testing.T) {
	s := newSite(t, "PAPR2002")
	s.observe(1, 4)
	s.run(0, "archive", "--full")
	s.wants("copy", s.run(0, "copy", "PAPR1001", "--to", "PAPR2002"), "PAPR1001 and PAPR2002 are a pair", "PAPR2001 was taken out of it")
	if out := s.run(0, "copies"); strings.Contains(out, "pot1:") {
		t.Errorf("not proven good on two tapes:\n%s", out)
	}
	t.Log(s.run(0, "verify", "--due"))
	to := t.TempDir()
	s.run(0, "restore", "pot1:/", "--to", to, "--tape", "PAPR2002")
	if out, err := exec.Command("diff", "-r", s.data(), filepath.Join(to, "pot1")).CombinedOutput(); err != nil {
		t.Errorf("what came back from the new twin differs: %v\n%.500s", err, out)
	}
}
