package lock_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"twintape/internal/lock"
)

// TestMain lets the test binary be the other process: it takes the lock, says so, and waits to be killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("LOCK_TEST_HOLD"); path != "" {
		if _, err := lock.Acquire(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAcquire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock.Acquire(path)
	var held *lock.HeldError
	if !errors.As(err, &held) || !errors.Is(err, lock.ErrHeld) {
		t.Fatalf("second Acquire: %v", err)
	}
	if held.Path != path || held.Holder.PID != os.Getpid() || held.Holder.Machine == "" || held.Holder.Since.IsZero() {
		t.Errorf("holder %+v at %s", held.Holder, held.Path)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lock.Acquire(path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadFile(path); err != nil || len(left) != 0 {
		t.Errorf("a free lock names a holder: %q, %v", left, err)
	}
}

func TestUnreadableHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := lock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(path, []byte(`{"pid":12,"comm`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = lock.Acquire(path)
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder != (lock.Holder{}) {
		t.Errorf("got %v", err)
	}
}

func TestMissingFolder(t *testing.T) {
	if _, err := lock.Acquire(filepath.Join(t.TempDir(), "missing", "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOCK_TEST_HOLD="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "held\n" {
		t.Errorf("the other process said %q, %v", said, err)
	}
	_, err = lock.Acquire(path)
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder.PID != cmd.Process.Pid {
		t.Errorf("while process %d holds it: %v", cmd.Process.Pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // reports the kill
	l, err := lock.Acquire(path)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
