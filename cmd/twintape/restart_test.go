package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"twintape/internal/audit"
	"twintape/internal/exitcode"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// TestServerKilled kills the ledger's server in each step of a job of the real program. One that is back soon is waited for, and
// the job comes to its end; when it is not, the job ends in order, and the next run goes on with it.
func TestServerKilled(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "twintape")
	shell(t, "go", "build", "-o", bin, ".")
	data := filepath.Join(t.TempDir(), "data")
	random := rand.New(rand.NewPCG(3, 3))
	const items, itemBytes = 30, 1 << 20
	content := make([]byte, itemBytes)
	for i := range items {
		for k := range content {
			content[k] = byte(random.Uint32())
		}
		dir := filepath.Join(data, fmt.Sprintf("zen.%05d.uv", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "visdata"), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := mariadbtest.Private(t)
	waited, broken := 0, 0
	steps := []string{"planning", "labelling", "writing", "closing", "verifying"}
	for _, step := range steps {
		for _, patience := range []time.Duration{time.Minute, time.Second} {
			t.Run(fmt.Sprintf("%s, %v", step, patience), func(t *testing.T) {
				credentials := server.Credentials(t)
				dir := filepath.Join(t.TempDir(), "site")
				run := func(args ...string) (int, string) {
					var out bytes.Buffer
					cmd := exec.Command(bin, args...)
					cmd.Env = append(os.Environ(), "TWINTAPE_CONFIG="+filepath.Join(dir, "twintape.toml"))
					cmd.Stdout, cmd.Stderr = &out, &out
					_ = cmd.Run() // its exit code tells
					return cmd.ProcessState.ExitCode(), out.String()
				}
				must := func(args ...string) {
					t.Helper()
					if code, out := run(args...); code != exitcode.Done {
						t.Fatalf("%v ended with %d:\n%s", args, code, out)
					}
				}
				must("init", "--dir", dir, "--capacity", "256 MiB", "--ledger-credentials", credentials)
				file := filepath.Join(dir, "twintape.toml")
				config, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text := strings.NewReplacer("[library]", fmt.Sprintf("patience = \"%v\"\n[library]", patience), `archive_size = "1 GiB"`, "archive_size = \"4 MiB\"\nrecord_size = \"64 KiB\"",
					`flush_bytes = "4 GiB"`, `flush_bytes = "4 MiB"`, `memory = "1 GiB"`, `memory = "16 MiB"`).Replace(string(config))
				if err := os.WriteFile(file, fmt.Appendf(nil, "%s\n[[host]]\nname = \"pot1\"\nsource = \"local\"\nroot = %q\n", text, data), 0o600); err != nil {
					t.Fatal(err)
				}
				must("queue", "add", "pot1:/zen.*.uv")

				c, err := mycnf.Read(credentials)
				if err != nil {
					t.Fatal(err)
				}
				db := server.Open(c.Database)
				defer db.Close()
				type end struct {
					code int
					out  string
				}
				ended := make(chan end, 1)
				go func() {
					code, out := run("archive")
					ended <- end{code, out}
				}()
				// A short step may pass between two looks: then the next one does.
				for now, from := "", slices.Index(steps, step); slices.Index(steps, now) < from; {
					_ = db.QueryRow("SELECT step FROM jobs ORDER BY id DESC LIMIT 1").Scan(&now) // no row yet: no job yet
					if now == "done" {
						t.Fatal("the job was faster than the test")
					}
				}
				time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond) // anywhere in it
				if err := server.Kill(); err != nil {
					t.Fatal(err)
				}
				var e end
				if patience == time.Second {
					e = <-ended // however long it is away
				}
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				if patience != time.Second {
					e = <-ended
				}
				if strings.Contains(e.out, "cannot be used now, waiting for it") {
					waited++
				}
				if e.code == exitcode.Failed {
					broken++
				}
				switch {
				case strings.Contains(e.out, "secret"):
					t.Errorf("the password is in\n%s", e.out)
				case patience != time.Second && e.code != exitcode.Done:
					t.Errorf("it ended with %d:\n%s", e.code, e.out)
				case patience == time.Second && (e.code != exitcode.Failed || !strings.Contains(e.out, "the server does not answer")) && e.code != exitcode.Done:
					t.Errorf("it ended with %d:\n%s", e.code, e.out)
				}
				site := audit.Site{
					MySQL:   fmt.Sprintf("root@unix(%s)/%s", server.Socket(), c.Database),
					Sources: map[string]string{"pot1": data}, Tapes: filepath.Join(dir, "library"),
				}
				for _, fault := range site.Check() {
					t.Error(fault)
				}
				if code, out := run("archive", "--all"); code != exitcode.Done && code != exitcode.Nothing {
					t.Errorf("the next run ended with %d:\n%s", code, out)
				}
				site.Ended = true
				for _, fault := range site.Check() {
					t.Error(fault)
				}
				if counts, err := site.States(); err != nil || counts != [3]int{0, 0, items} {
					t.Errorf("items by their good copies: %v, %v", counts, err)
				}
				if _, err := os.Lstat(filepath.Join(dir, "hold")); err == nil {
					t.Error("a hold is set")
				}
			})
		}
	}
	if waited < 5 || broken < 2 {
		t.Errorf("only %d jobs waited for the server, and %d broke off", waited, broken)
	}
}
