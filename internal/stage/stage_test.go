package stage_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"twintape/internal/digest"
	"twintape/internal/lock"
	"twintape/internal/stage"
)

// childDir is the environment variable that makes a process stage a file, and half of another, and wait to be killed.
const childDir = "TWINTAPE_TEST_STAGE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := stage.Open(dir, 1<<20)
		if err == nil {
			_, err = put(s, "whole")
		}
		if err == nil {
			var w *stage.Writer
			if w, err = s.Create(keyOf("half of it")); err == nil {
				_, err = w.Write([]byte("half"))
			}
		}
		fmt.Println(err)
		select {}
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(text string) stage.Key {
	return stage.Key{MD5: digest.MD5([]byte(text)), Size: int64(len(text))}
}

func put(s *stage.Stage, text string) (*os.File, error) {
	w, err := s.Create(keyOf(text))
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		w.Abandon()
		return nil, err
	}
	return w.Commit()
}

func open(t *testing.T, dir string, size int64) *stage.Stage {
	t.Helper()
	s, err := stage.Open(dir, size)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// holds tells whether a file is staged and is what it should be.
func holds(t *testing.T, s *stage.Stage, text string) bool {
	t.Helper()
	f, err := s.Get(keyOf(text))
	if errors.Is(err, stage.ErrAbsent) {
		if s.Has(keyOf(text)) {
			t.Errorf("%.20q is there and is not", text)
		}
		return false
	}
	must(t, err)
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != text {
		t.Errorf("%.20q holds %.20q, %v", text, got, err)
	}
	return true
}

// large is a text that takes 40 kB of a stage.
func large(c string) string { return strings.Repeat(c, 40<<10) }

func TestOldestGoes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 100<<10)
	for _, c := range []string{"a", "b"} {
		f, err := put(s, large(c))
		must(t, err)
		f.Close()
	}
	kept, err := s.Get(keyOf(large("b")))
	must(t, err)
	defer kept.Close()
	if !holds(t, s, large("a")) { // used last
		t.Fatal("a is gone")
	}
	f, err := put(s, large("c"))
	must(t, err)
	f.Close()
	if !holds(t, s, large("a")) || holds(t, s, large("b")) || !holds(t, s, large("c")) {
		t.Error("not the one that was used least recently went")
	}
	if got, err := io.ReadAll(kept); err != nil || string(got) != large("b") {
		t.Errorf("what is open reads %d bytes, %v", len(got), err)
	}

	// A restart knows the order, and takes what it is allowed to now.
	must(t, os.Chtimes(name(dir, large("c")), time.Time{}, time.Unix(1e9, 0)))
	must(t, os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o600))
	must(t, s.Close())
	s = open(t, dir, 50<<10)
	if !holds(t, s, large("a")) || holds(t, s, large("c")) {
		t.Error("not the one that was used least recently went at the start")
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
	must(t, os.Remove(name(dir, large("a"))))
	if holds(t, s, large("a")) {
		t.Error("what somebody removed is there")
	}
	f, err = put(s, large("d"))
	must(t, err)
	f.Close()
}

func name(dir, text string) string {
	k := keyOf(text)
	return filepath.Join(dir, fmt.Sprintf("%x-%d", k.MD5, k.Size))
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 100<<10)
	if _, err := s.Create(keyOf(strings.Repeat("x", 101<<10))); !errors.Is(err, stage.ErrLarge) || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("too large: %v", err)
	}
	first, err := s.Create(keyOf(large("a")))
	must(t, err)
	second, err := s.Create(keyOf(large("b")))
	must(t, err)
	if _, err := s.Create(keyOf(large("c"))); !errors.Is(err, stage.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("too many at once: %v", err)
	}
	_, err = io.WriteString(first, large("x"))
	must(t, err)
	if _, err := first.Commit(); !errors.Is(err, stage.ErrSum) {
		t.Errorf("another MD5: %v", err)
	}
	_, err = io.WriteString(second, "short")
	must(t, err)
	if _, err := second.Commit(); !errors.Is(err, stage.ErrSum) {
		t.Errorf("short: %v", err)
	}
	third, err := s.Create(keyOf("three"))
	must(t, err)
	if _, err := io.WriteString(third, "three and more"); !errors.Is(err, stage.ErrSum) {
		t.Errorf("long: %v", err)
	}
	third.Abandon()
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
	for _, c := range []string{"a", "b"} { // both fit: what was given up takes no room
		f, err := put(s, large(c))
		must(t, err)
		f.Close()
	}
	if !holds(t, s, large("a")) || !holds(t, s, large("b")) {
		t.Error("they do not fit")
	}
	if _, err := stage.Open(dir, 1<<20); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("a second owner: %v", err)
	}
}

func TestKilled(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	must(t, child.Process.Kill())
	child.Wait() //nolint:errcheck // it was killed
	if line != "<nil>\n" {
		t.Fatal(line)
	}
	half, err := filepath.Glob(filepath.Join(dir, ".twintape-stage-*"))
	if err != nil || len(half) != 1 {
		t.Fatalf("the child left %q, %v", half, err)
	}
	must(t, os.WriteFile(name(dir, "cut off"), []byte("cut"), 0o600)) // as no kill leaves it, but a broken disk may
	s := open(t, dir, 1<<20)
	if !holds(t, s, "whole") || holds(t, s, "half of it") || holds(t, s, "cut off") {
		t.Error("not what was whole is there")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 { // with the lock
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestConcurrent(t *testing.T) {
	s := open(t, t.TempDir(), 200<<10)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				text := large(string(rune('a' + (i+n)%10)))
				f, err := s.Get(keyOf(text))
				if errors.Is(err, stage.ErrAbsent) {
					if f, err = put(s, text); errors.Is(err, stage.ErrFull) {
						continue
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, []byte(text)) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				f.Close()
			}
		})
	}
	all.Wait()
}
