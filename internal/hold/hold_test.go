package hold

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestHold(t *testing.T) {
	dir := t.TempDir()
	if _, there, err := Read(dir); there || err != nil {
		t.Fatalf("a hold in an empty folder: %v", err)
	}
	if _, stood, err := Clear(dir); stood || err != nil {
		t.Fatalf("cleared nothing: %v", err)
	}
	first, set, err := Set(dir, "the robot's door is open", "obs")
	if !set || err != nil {
		t.Fatal(set, err)
	}
	second, set, err := Set(dir, "another reason", "job 7")
	if set || err != nil || second != first {
		t.Errorf("the second hold: %+v, set %v, %v", second, set, err)
	}
	got, there, err := Read(dir)
	if !there || err != nil || got != first || got.Why != "the robot's door is open" || got.By != "obs" || got.Since.IsZero() {
		t.Errorf("read %+v, %v, %v", got, there, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are there", len(entries))
	}
	if got, stood, err := Clear(dir); !stood || err != nil || got != first {
		t.Errorf("cleared %+v, %v, %v", got, stood, err)
	}
	if _, there, _ := Read(dir); there {
		t.Error("a hold is there after it was cleared")
	}
}

// Whoever holds at the same time, one reason stands and is whole.
func TestHoldRace(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	sets := 0
	for range 20 {
		wg.Go(func() {
			h, set, err := Set(dir, strings.Repeat("x", 1000), "y")
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(h.Why) != 1000 {
				t.Error(err)
			}
			if set {
				sets++
			}
		})
	}
	wg.Wait()
	if sets != 1 {
		t.Errorf("%d holds were set", sets)
	}
}

func TestUnreadableHoldHolds(t *testing.T) {
	for _, text := range []string{"", "back on Monday\n", "{}", "\x00\xff", `{"why":""}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "hold"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		h, there, err := Read(dir)
		if !there || err != nil || h.Why == "" || h.Since.IsZero() {
			t.Errorf("%q: %+v, %v, %v", text, h, there, err)
		}
	}
}
