package observation_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"twintape/internal/observation"
)

var options = observation.Options{Seed: 7, First: 2456620.16691, Count: 3, Bytes: 1_000_003, Pols: []string{"xx", "yy"}}

// listing tells everything of a tree: names, modes, sizes, times, contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&b, "%s %s %d", rel, info.Mode(), info.ModTime().UnixNano())
		if !d.IsDir() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(data), md5.Sum(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The sum was computed once; it changes only when what is made changes, and with it every recorded benchmark.
const golden = "30d2bcac240d214359aaa78ff4430597"

func TestSameEverywhere(t *testing.T) {
	dir := t.TempDir()
	if _, err := observation.Write(dir, options); err != nil {
		t.Fatal(err)
	}
	list := listing(t, dir)
	if sum := fmt.Sprintf("%x", md5.Sum([]byte(list))); sum != golden {
		t.Errorf("md5 %s, want %s, of\n%s", sum, golden, list)
	}
	other := options
	other.Seed++
	if _, err := observation.Write(dir, other); err != nil {
		t.Fatal(err)
	}
	if listing(t, dir) == list {
		t.Error("another seed makes the same")
	}
}

func TestWhatIsToldIsThere(t *testing.T) {
	dir := t.TempDir()
	made, err := observation.Write(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range made {
		names = append(names, filepath.Base(o.Path))
		files, err := os.ReadDir(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		var total int64
		var in []string
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
			in = append(in, f.Name())
		}
		if want := []string{"flags", "header", "history", "vartable", "visdata"}; !slices.Equal(in, want) {
			t.Errorf("%s has %q, want %q", o.Path, in, want)
		}
		if total != options.Bytes || o.Bytes != total {
			t.Errorf("%s has %d bytes, tells %d, asked for %d", o.Path, total, o.Bytes, options.Bytes)
		}
		data, err := os.ReadFile(filepath.Join(o.Path, "visdata"))
		if err != nil {
			t.Fatal(err)
		}
		if sum := md5.Sum(data); hex.EncodeToString(sum[:]) != o.VisdataMD5 {
			t.Errorf("%s: md5 of visdata is %x, told was %s", o.Path, sum, o.VisdataMD5)
		}
		if int64(len(data)) < total*9/10 {
			t.Errorf("%s: visdata has only %d of %d bytes", o.Path, len(data), total)
		}
	}
	if want := []string{"zen.2456620.16691.xx.uv", "zen.2456620.16691.yy.uv", "zen.2456620.17387.xx.uv"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	info, err := os.Stat(made[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	// JD 2456620.16691 by the definition: JD 2440587.5 is 1970-01-01 00:00 UTC.
	if want := time.Date(2013, 11, 23, 16, 0, 21, 0, time.UTC); !info.ModTime().Equal(want) {
		t.Errorf("modified %s, want %s", info.ModTime().UTC(), want)
	}
}

func TestTooSmall(t *testing.T) {
	o := options
	o.Bytes = observation.MinBytes
	if _, err := observation.Write(t.TempDir(), o); err != nil {
		t.Error(err)
	}
	o.Bytes--
	if _, err := observation.Write(t.TempDir(), o); err == nil {
		t.Error("too few bytes are taken")
	}
	o = options
	o.Pols = nil
	if _, err := observation.Write(t.TempDir(), o); err == nil {
		t.Error("no polarization is taken")
	}
}

func BenchmarkWrite(b *testing.B) {
	o := options
	o.Count, o.Bytes = 1, 64<<20
	b.SetBytes(o.Bytes)
	dir := b.TempDir()
	for b.Loop() {
		if _, err := observation.Write(dir, o); err != nil {
			b.Fatal(err)
		}
	}
}
