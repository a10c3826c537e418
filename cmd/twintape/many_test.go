package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/audit"
	"twintape/internal/exitcode"
	"twintape/internal/ledger/mariadbtest"
)

// TestManyArchivers lets archivers on several machines, each with a network, a name, a boot and a library of its own, work on one
// queue in one MariaDB, while they are killed, stopped for longer than their lease, and cut off from the database, each in the midst of
// planning, of writing and of verifying. In the end every item lies on one pair, on both tapes, and nothing untrue is recorded.
func TestManyArchivers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	const machines, items, itemBytes = 3, 3000, 128 << 10
	bin := filepath.Join(t.TempDir(), "twintape")
	shell(t, "go", "build", "-o", bin, ".")
	data := filepath.Join(t.TempDir(), "data")
	content := make([]byte, itemBytes)
	for i := range items {
		dir := filepath.Join(data, fmt.Sprintf("night%d", i%7), fmt.Sprintf("zen.%05d.uv", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		copy(content, dir)
		if err := os.WriteFile(filepath.Join(dir, "visdata"), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	server := mariadbtest.Private(t, "--skip-networking=OFF", "--bind-address=0.0.0.0", fmt.Sprint("--port=", port))
	database, password := server.Database(t)

	db := server.Open(database)
	defer db.Close()

	var all []*machine
	for n := range machines {
		m := &machine{T: t, n: n, bin: bin, db: db, dir: filepath.Join(t.TempDir(), "site"), done: make(chan struct{}), deeds: make(map[string]int)}
		m.network(port, database, password, data)
		all = append(all, m)
	}
	all[0].mustRun("queue", "add", "pot1:/**/zen.*.uv")

	var g sync.WaitGroup
	for _, m := range all {
		g.Go(m.work)
	}
	site := audit.Site{
		MySQL:   fmt.Sprintf("root@unix(%s)/%s", server.Socket(), database),
		Sources: map[string]string{"pot1": data}, Tapes: t.TempDir(), Ended: true,
	}
	for _, m := range all {
		g.Go(m.live)
	}
	for counts := [3]int{}; counts != [3]int{0, 0, items} && !t.Failed(); {
		var err error
		if counts, err = site.States(); err != nil {
			t.Error(err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	for _, m := range all {
		close(m.done)
	}
	g.Wait()
	deeds := map[string]int{}
	for _, m := range all {
		for deed, n := range m.deeds {
			deeds[deed] += n
		}
	}
	t.Logf("deeds %v", deeds)
	for _, deed := range theDeeds {
		for _, step := range theSteps {
			if what := deed + " while " + step; deeds[what] == 0 {
				t.Errorf("never: %s", what)
			}
		}
	}
	fenced, overtaken := 0, 0
	for _, m := range all {
		// What is left to be verified or closed, each does with its own tapes.
		if code, out := m.run("archive", "--all"); code != exitcode.Nothing && code != exitcode.Done {
			t.Errorf("machine %d ended with %d:\n%s", m.n, code, out)
		}
		if _, err := os.Lstat(filepath.Join(m.dir, "hold")); err == nil {
			t.Errorf("machine %d set a hold", m.n)
		}
		fenced, overtaken = fenced+m.fenced, overtaken+m.overtaken
		taps, err := filepath.Glob(filepath.Join(m.dir, "library", "*.tap"))
		if err != nil || len(taps) != 8 {
			t.Fatalf("cartridges %v, %v", taps, err)
		}
		for _, tap := range taps {
			if err := os.Symlink(tap, filepath.Join(site.Tapes, filepath.Base(tap))); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d jobs were taken over from processes that were stopped, of %d that ended so", overtaken, fenced)
	if overtaken < 3 || fenced < overtaken {
		t.Errorf("%d processes were told that they were taken over, %d were while they stood still", fenced, overtaken)
	}
	for _, fault := range site.Check() {
		t.Error(fault)
	}
	if counts, err := site.States(); err != nil || counts != [3]int{0, 0, items} {
		t.Errorf("items by their good copies: %v, %v", counts, err)
	}
}

// machine is one archiver's.
type machine struct {
	*testing.T
	n      int
	bin    string
	dir    string
	boot   string  // a file, as /proc/sys/kernel/random/boot_id
	db     *sql.DB // past its network
	done   chan struct{}
	fenced int            // how often its job was taken over
	deeds  map[string]int // done to it, in which step, for each how often

	overtaken int // how often another took its job over while it stood still

	mu      sync.Mutex
	process *os.Process // that archives now; nil between runs
}

func (m *machine) ns() string   { return fmt.Sprintf("tt%d-%d", os.Getpid(), m.n) }
func (m *machine) link() string { return fmt.Sprintf("tt%dv%d", os.Getpid()%100000, m.n) }

// network makes the machine's namespace, with a link to the database, and its site.
func (m *machine) network(port int, database, password, data string) {
	m.Helper()
	pid := os.Getpid() // another run of this test may be under way on this machine
	subnet := fmt.Sprintf("10.%d.%d.", 100+pid%100, pid/100%60*4+m.n)
	ours, its := subnet+"1", subnet+"2"
	m.Cleanup(func() {
		// With the namespace its end of the link goes, and with that ours.
		_ = exec.Command("ip", "netns", "del", m.ns()).Run()
		_ = exec.Command("ip", "link", "del", m.link()).Run()
	})
	shell(m.T, "ip", "netns", "add", m.ns())
	shell(m.T, "ip", "link", "add", m.link(), "type", "veth", "peer", "name", "eth0", "netns", m.ns())
	shell(m.T, "ip", "addr", "add", ours+"/24", "dev", m.link())
	shell(m.T, "ip", "link", "set", m.link(), "up")
	shell(m.T, "ip", "-n", m.ns(), "addr", "add", its+"/24", "dev", "eth0")
	shell(m.T, "ip", "-n", m.ns(), "link", "set", "eth0", "up")
	shell(m.T, "ip", "-n", m.ns(), "link", "set", "lo", "up")

	m.boot = filepath.Join(m.TempDir(), "boot_id")
	credentials := filepath.Join(m.TempDir(), "client.cnf")
	for file, text := range map[string]string{
		m.boot:      uuid.NewString() + "\n",
		credentials: fmt.Sprintf("[client]\nhost=%s\nport=%d\nuser=%s\npassword='%s'\ndatabase=%s\n", ours, port, database, password, database),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			m.Fatal(err)
		}
	}
	m.mustRun("init", "--dir", m.dir, "--capacity", "64 MiB", "--ledger-credentials", credentials)
	file := filepath.Join(m.dir, "twintape.toml")
	config, err := os.ReadFile(file)
	if err != nil {
		m.Fatal(err)
	}
	text := strings.NewReplacer("[library]", "lease = \""+lease.String()+"\"\n[library]", `archive_size = "1 GiB"`, "archive_size = \"4 MiB\"\nrecord_size = \"64 KiB\"",
		`flush_bytes = "4 GiB"`, `flush_bytes = "4 MiB"`, `memory = "1 GiB"`, `memory = "32 MiB"`).Replace(string(config))
	text += fmt.Sprintf("\n[[host]]\nname = \"pot1\"\nsource = \"local\"\nroot = %q\n", data)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) command(args ...string) *exec.Cmd {
	script := fmt.Sprintf("hostname m%d && mount --bind %s /proc/sys/kernel/random/boot_id && exec \"$@\"", m.n, m.boot)
	args = append([]string{"netns", "exec", m.ns(), "unshare", "--mount", "--uts", "sh", "-c", script, "sh", m.bin}, args...)
	cmd := exec.Command("ip", args...)
	cmd.Env = append(os.Environ(), "TWINTAPE_CONFIG="+filepath.Join(m.dir, "twintape.toml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs twintape on the machine.
func (m *machine) run(args ...string) (int, string) {
	var out bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		m.Error(err)
		return exitcode.Failed, ""
	}
	m.mu.Lock()
	m.process = cmd.Process
	m.mu.Unlock()
	err := cmd.Wait()
	m.mu.Lock()
	m.process = nil
	m.mu.Unlock()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.Error(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (m *machine) mustRun(args ...string) {
	m.Helper()
	if code, out := m.run(args...); code != exitcode.Done {
		m.Fatalf("machine %d: %v ended with %d:\n%s", m.n, args, code, out)
	}
}

// work archives until there is nothing to do any more, as a timer would start it.
func (m *machine) work() {
	for {
		code, out := m.run("archive", "--all")
		switch {
		case code == exitcode.Held && strings.Contains(out, "taken over"):
			m.fenced++
		case code == exitcode.Failed && strings.Contains(out, "the server does not answer"): // cut off when it began
		case code != exitcode.Done && code != exitcode.Nothing && code != -1:
			m.Errorf("machine %d ended with %d:\n%s", m.n, code, out)
		}
		select {
		case <-m.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if m.Failed() {
			return
		}
	}
}

// theDeeds are what is done to machines, and theSteps those of their jobs in whose midst it is.
var (
	theDeeds = []string{"kill", "stop", "cut"}
	theSteps = []string{"planning", "writing", "verifying"}
)

// lease is for how long a machine that is not heard of keeps its job.
const lease = 2 * time.Second

// live lets the machine suffer each deed in each step. Each machine begins with another deed, so that all are done though the work may
// end before.
func (m *machine) live() {
	for n := range len(theDeeds) * len(theSteps) {
		deed, step := theDeeds[(m.n+n/len(theSteps))%len(theDeeds)], theSteps[n%len(theSteps)]
		if !m.until(step) {
			return
		}
		if m.suffer(deed) {
			m.deeds[deed+" while "+step]++
		}
	}
}

// until waits until the machine's job is in a step; false if the work is over.
func (m *machine) until(step string) bool {
	for {
		var now string
		err := m.db.QueryRow("SELECT step FROM jobs WHERE machine = ? AND ended = 0 ORDER BY id DESC LIMIT 1", fmt.Sprint("m", m.n)).Scan(&now)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			m.Error(err)
		}
		if now == step && m.running() != nil {
			return true
		}
		select {
		case <-m.done:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (m *machine) running() *os.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

// suffer does something to the process that runs; false if none does.
func (m *machine) suffer(deed string) bool {
	p := m.running()
	if p == nil {
		return false
	}
	switch deed {
	case "kill":
		return p.Kill() == nil
	case "stop":
		if p.Signal(syscall.SIGSTOP) != nil {
			return false
		}
		if m.untilTakenOver() {
			m.overtaken++
		}
		return p.Signal(syscall.SIGCONT) == nil
	}
	shell(m.T, "ip", "link", "set", m.link(), "down")
	m.untilTakenOver()
	shell(m.T, "ip", "link", "set", m.link(), "up")
	return true
}

// untilTakenOver waits until another machine has ended a job of this one, which stands still; false if none did for long.
func (m *machine) untilTakenOver() bool {
	ended := func() (n int) {
		if err := m.db.QueryRow("SELECT COUNT(*) FROM jobs WHERE machine = ? AND reason LIKE '%was not heard of%'", fmt.Sprint("m", m.n)).Scan(&n); err != nil {
			m.Error(err)
		}
		return n
	}
	for before, began := ended(), time.Now(); time.Since(began) < 4*lease; {
		time.Sleep(50 * time.Millisecond)
		if ended() != before {
			return true
		}
	}
	return false
}

func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
