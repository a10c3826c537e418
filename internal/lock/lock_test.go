package lock

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const holdFile = "TWINTAPE_TEST_HOLD"

// TestHold is the process that TestOtherProcess starts: it holds a lock until it is killed.
func TestHold(t *testing.T) {
	path := os.Getenv(holdFile)
	if path == "" {
		return // not that process
	}
	held, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("held\n")
	for {
		time.Sleep(time.Hour)
		runtime.KeepAlive(held) // else its file is closed when garbage is collected
	}
}

func TestOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHold$")
	cmd.Env = append(os.Environ(), holdFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "held"; {
	}
	_, err = Acquire(path)
	var held *HeldError
	if !errors.As(err, &held) || !errors.Is(err, ErrHeld) || held.Holder.PID != cmd.Process.Pid || !strings.Contains(err.Error(), path) {
		t.Fatalf("while process %d holds it: %v", cmd.Process.Pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	l, err := Acquire(path)
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	if _, err := Acquire(path); !errors.As(err, &held) || held.Holder.PID != os.Getpid() {
		t.Errorf("while this process holds it: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Acquire(path); err != nil {
		t.Fatalf("after it was given up: %v", err)
	}
	l.Close()
}

// What is not ours in the file does no harm: the lock is the kernel's, the text is for the message.
func TestForeignContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(path, []byte("\x00garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("the error is %v", err)
	}
}

// A node's lock names its holder as far as the kernel does.
func TestNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node")
	if _, err := Node(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no node: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Node(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Node(path)
	var held *HeldError
	if !errors.As(err, &held) || held.Holder.PID != os.Getpid() || !strings.Contains(err.Error(), "(lock.test)") {
		t.Errorf("held by this process: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Node(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) > 0 {
		t.Errorf("the node was written to: %q, %v", b, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
