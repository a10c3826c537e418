package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"twintape/internal/observation"
)

// A run stays within archive.memory and 128 MiB, however much it archives: the binary as it is built for users, without the
// race detector, which would take more.
func TestMemory(t *testing.T) {
	const ring, beside = 32 << 20, 128 << 20
	dir := t.TempDir()
	binary, site := filepath.Join(dir, "twintape"), filepath.Join(dir, "site")
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "TWINTAPE_CONFIG="+filepath.Join(site, "twintape.toml"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	run("go", "build", "-o", binary, ".")
	if _, err := observation.Write(filepath.Join(dir, "obs"), observation.Options{
		Seed: 1, First: 2456620.16691, Count: 6, Bytes: 64 << 20, Pols: []string{"xx"},
	}); err != nil {
		t.Fatal(err)
	}
	run(binary, "init", "--dir", site)
	file := filepath.Join(site, "twintape.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), `memory = "1 GiB"`, fmt.Sprintf("memory = %d", ring), 1)
	if config == string(text) {
		t.Fatal("the first configuration does not have the memory that this test replaces")
	}
	config += fmt.Sprintf("\n[[host]]\nname = \"pot1\"\nsource = \"local\"\nroot = %q\n", filepath.Join(dir, "obs"))
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	run(binary, "queue", "add", "pot1:/zen.*.uv")
	// Linux counts in what a process took at most what its parent had when it was started, which is much here: so a small one starts it.
	out := run("python3", "-c", `
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`, binary, "archive", "--full")
	said := strings.Fields(string(out))
	kib, err := strconv.ParseInt(said[len(said)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if peak := kib << 10; peak > ring+beside {
		t.Errorf("the run took %d MiB beside its ring of %d MiB", (peak-ring)>>20, ring>>20)
	} else {
		t.Logf("%d MiB beside the ring", (peak-ring)>>20)
	}
}
