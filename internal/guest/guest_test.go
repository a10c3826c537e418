package guest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/internal/guest"
)

func prepared(t *testing.T) *guest.Image {
	t.Helper()
	if os.Getenv("TWINTAPE_SKIP_SCSI") != "" {
		t.Skip("left out, as TWINTAPE_SKIP_SCSI says")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	image, err := guest.Prepare(t.Context(), filepath.Join(cache, "twintape-guest"))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// A script finds its files and the real tools, tells its exit code, and leaves what it wrote to /results.
func TestRun(t *testing.T) {
	image, dir := prepared(t), t.TempDir()
	brought := filepath.Join(dir, "brought")
	if err := os.WriteFile(brought, []byte("#!/bin/sh\necho it runs: $(tar --version | head -n 1)\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(dir, "results")
	if err := os.Mkdir(results, 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := image.Run(t.Context(), guest.Command{
		Files:   map[string]string{"/a/b/program": brought},
		Script:  "/a/b/program; grep -c -E '^(st|sg|ch|tcm_loop|target_core_user) ' /proc/modules; printf 'a\\nb' >/results/left; exit 7",
		Results: results, Output: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if code != 7 || !strings.HasPrefix(out.String(), "it runs: tar (GNU tar)") || !strings.HasSuffix(out.String(), "\n5\n") {
		t.Errorf("exit code %d, output %q", code, &out)
	}
	if left, err := os.ReadFile(filepath.Join(results, "left")); err != nil || string(left) != "a\nb" {
		t.Errorf("left are %q, %v", left, err)
	}
}

// A guest that dies is told with its kernel's words, one that hangs ends with the context.
func TestNoExitCode(t *testing.T) {
	image := prepared(t)
	_, err := image.Run(t.Context(), guest.Command{Script: "echo c >/proc/sysrq-trigger", Output: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Errorf("a crash is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = image.Run(ctx, guest.Command{Script: "echo began; sleep 1000", Output: writer(cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a hang is %v", err)
	}
}

// writer is told when something is written.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// Without a place to download from there is an error, and no half-made image.
func TestPrepareFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	cache := t.TempDir()
	if _, err := guest.Prepare(ctx, cache); err == nil {
		t.Error("it was prepared in no time")
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
