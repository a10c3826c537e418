package ledger_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/ledger"
	"twintape/internal/ledger/ledgertest"
)

func TestLedger(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) func(ledger.Options) *ledger.Ledger {
		path := filepath.Join(t.TempDir(), "ledger.db")
		l, err := ledger.Create(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return func(o ledger.Options) *ledger.Ledger {
			l, err := ledger.Open(t.Context(), path, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return l
		}
	})
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ?#%41&\n\xff")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ledger.db")
	if _, err := ledger.Open(t.Context(), path, ledger.Options{}); !errors.Is(err, ledger.ErrNoLedger) ||
		!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "twintape init") || !strings.Contains(err.Error(), "backup") {
		t.Errorf("open without a ledger: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("open made %v, %v", left, err)
	}
	l, err := ledger.Create(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddTape(t.Context(), ledger.Tape{Barcode: "A"}); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if _, err := ledger.Create(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a ledger: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := ledger.Create(t.Context(), filepath.Join(dir, "none", "ledger.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create without its folder: %v", err)
	}
	if l, err = ledger.Open(t.Context(), path, ledger.Options{DeletableAfter: "sample"}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if tapes, err := l.Tapes(t.Context()); err != nil || len(tapes) != 1 {
		t.Errorf("tapes %v, %v", tapes, err)
	}
}

func TestOpenRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.Create(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(t.Context(), path, ledger.Options{DeletableAfter: "never"}); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("an unknown deletable_after: %v", err)
	}
	for name, content := range map[string]string{"text": strings.Repeat("not a database\n", 100), "empty": ""} {
		other := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(other, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Open(t.Context(), other, ledger.Options{}); err == nil || !strings.Contains(err.Error(), "no ledger") {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(other); err != nil || !strings.HasPrefix(string(now), content) || content == "" && strings.Contains(string(now), "tapes") {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}
