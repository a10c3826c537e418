package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/archiver/archivertest"
	"twintape/archiver/restore"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bring restores and expects that nothing but what is named by the words of failed goes wrong.
func bring(t *testing.T, s *archivertest.Site, o restore.Options, failed ...string) *restore.Report {
	t.Helper()
	r, err := restore.Restore(t.Context(), s.A, o)
	must(t, err)
	told := make([]string, len(r.Failed))
	for i, f := range r.Failed {
		told[i] = f.Host + ":" + f.Path + ": " + f.Reason
	}
	if len(told) != len(failed) {
		t.Fatalf("failed are %q", told)
	}
	for i, words := range failed {
		for word := range strings.SplitSeq(words, "…") {
			if !strings.Contains(told[i], word) {
				t.Errorf("%q does not say %q", told[i], word)
			}
		}
	}
	filepath.WalkDir(o.To, func(p string, _ fs.DirEntry, _ error) error { //nolint:errcheck // never fails
		if strings.Contains(p, ".twintape-restore") {
			t.Errorf("%s was left", p)
		}
		return nil
	})
	return r
}

// alike compares two trees: types, content, modes, owners, times, link targets, what is one file, extended attributes.
func alike(t *testing.T, got, want string) {
	t.Helper()
	list := func(top string) map[string]string {
		out := make(map[string]string)
		first := make(map[uint64]string)
		must(t, filepath.WalkDir(top, func(p string, _ fs.DirEntry, err error) error {
			must(t, err)
			var st unix.Stat_t
			must(t, unix.Lstat(p, &st))
			name, _ := filepath.Rel(top, p)
			if name == "." {
				return nil
			}
			told := fmt.Sprintf("%o %d %d %v", st.Mode, st.Uid, st.Gid, st.Mtim)
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				data, err := os.ReadFile(p)
				must(t, err)
				told += fmt.Sprintf(" %q", data)
				if other, ok := first[st.Ino]; ok {
					told += " is " + other
				} else {
					first[st.Ino] = name
				}
				value := make([]byte, 100)
				if n, err := unix.Lgetxattr(p, "user.origin", value); err == nil {
					told += " from " + string(value[:n])
				}
			case unix.S_IFLNK:
				link, err := os.Readlink(p)
				must(t, err)
				told += " -> " + link
			case unix.S_IFDIR:
			default:
				return nil // not on tape
			}
			out[name] = told
			return nil
		}))
		return out
	}
	g, w := list(got), list(want)
	for name, told := range w {
		if g[name] != told {
			t.Errorf("%q is %.200s, want %.200s", name, g[name], told)
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d entries, want %d", len(g), len(w))
	}
}

// nights archives three nights onto two pairs.
func nights(t *testing.T) *archivertest.Site {
	t.Helper()
	s := archivertest.New(t, 2, 1<<30)
	s.Fill("n1/zen.1")
	must(t, unix.Setxattr(filepath.Join(s.Data, "n1/zen.1/a"), "user.origin", []byte("correlator"), 0))
	r := rand.NewChaCha8([32]byte{9})
	for i := range 12 {
		data := make([]byte, 400<<10+i*1000)
		r.Read(data) //nolint:errcheck // never fails
		s.File(fmt.Sprintf("n2/zen.%02d/visdata", i), string(data))
		s.File(fmt.Sprintf("n2/zen.%02d/header", i), "small")
	}
	s.File("n3/single", "one")
	s.Archive("pot1:/n1/*", "pot1:/n2/zen.0*")
	first, err := s.A.Ledger.Tape(t.Context(), "PAPR1001")
	must(t, err)
	must(t, s.A.Ledger.SetFull(t.Context(), first.Pair))
	s.Archive("pot1:/n2/zen.1*", "pot1:/n3/*")
	return s
}

func TestEverything(t *testing.T) {
	s := nights(t)
	to := filepath.Join(t.TempDir(), "new", "folder")
	r := bring(t, s, restore.Options{Patterns: []string{"pot1:/"}, To: to})
	alike(t, filepath.Join(to, "pot1/n1/zen.1"), filepath.Join(s.Data, "n1/zen.1"))
	alike(t, filepath.Join(to, "pot1/n2"), filepath.Join(s.Data, "n2"))
	if info, err := os.Stat(filepath.Join(to, "pot1/n3/single")); err != nil || !info.ModTime().Equal(time.Unix(1e9, 123456789)) {
		t.Errorf("the single file: %v, %v", info, err)
	}
	if r.Files != 35 || r.Already != 0 || r.Links != 3 || r.Folders != 16 || len(r.Lacking) != 1 || !strings.Contains(r.Lacking[0].Reason, "fifo") {
		t.Errorf("report %+v", r)
	}
	// Again: nothing is read.
	s.A.Library = noLoads{s.A.Library, t}
	if r = bring(t, s, restore.Options{Patterns: []string{"pot1:/n3/**"}, To: to}); r.Files != 0 || r.Already != 1 {
		t.Errorf("again: %+v", r)
	}
}

// noLoads would notice that a tape is loaded without need.
type noLoads struct {
	tape.Library
	t *testing.T
}

func TestParts(t *testing.T) {
	s := nights(t)
	for pattern, want := range map[string][]string{
		"pot1:/n2/zen.05/visdata": {"n2/zen.05/visdata"},
		"pot*:/n2/*/header": {
			"n2/zen.00/header", "n2/zen.01/header", "n2/zen.02/header", "n2/zen.03/header", "n2/zen.04/header", "n2/zen.05/header",
			"n2/zen.06/header", "n2/zen.07/header", "n2/zen.08/header", "n2/zen.09/header", "n2/zen.10/header", "n2/zen.11/header",
		},
		"pot1:/n1/zen.1/sub/hard":  {"n1/zen.1/sub/hard"},
		"pot1:/n2/zen.{03,11}":     {"n2/zen.03/header", "n2/zen.03/visdata", "n2/zen.11/header", "n2/zen.11/visdata"},
		"pot1:/n3/single":          {"n3/single"},
		"pot1:/n1/zen.1/read-only": {"n1/zen.1/read-only/f"},
	} {
		to := t.TempDir()
		bring(t, s, restore.Options{Patterns: []string{pattern}, To: to})
		var got []string
		must(t, filepath.WalkDir(filepath.Join(to, "pot1"), func(p string, d fs.DirEntry, err error) error {
			must(t, err)
			if !d.IsDir() {
				name, _ := filepath.Rel(filepath.Join(to, "pot1"), p)
				got = append(got, name)
				a, err := os.ReadFile(p)
				must(t, err)
				b, err := os.ReadFile(filepath.Join(s.Data, name))
				must(t, err)
				if !bytes.Equal(a, b) {
					t.Errorf("%s: %s differs", pattern, name)
				}
			}
			return nil
		}))
		if !slices.Equal(got, want) {
			t.Errorf("%s restored %q, want %q", pattern, got, want)
		}
	}
	if _, err := restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{"pot1:/none/**"}, To: t.TempDir()}); !errors.Is(err, restore.ErrNothing) {
		t.Errorf("nothing: %v", err)
	}
	for _, wrong := range []string{"visdata", "pot1:x", "pot1:/[", ":/x"} {
		if _, err := restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{wrong}, To: t.TempDir()}); err == nil {
			t.Errorf("%q is a pattern", wrong)
		}
	}
}

// damage changes bytes of a cartridge where a text lies on it.
func damage(t *testing.T, s *archivertest.Site, barcode, text string) {
	t.Helper()
	name := filepath.Join(s.Tapes, barcode+".tap")
	image, err := os.ReadFile(name)
	must(t, err)
	at := bytes.Index(image, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %.20q", barcode, text)
	}
	image[at] ^= 1
	must(t, os.WriteFile(name, image, 0o644))
}

func (s noLoads) Drives() int { return s.Library.Drives() }

func content(t *testing.T, s *archivertest.Site, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Data, name))
	must(t, err)
	return string(data)
}

// What one tape does not give back comes from its twin, and the tape is suspect; what both do not give back is told.
func TestDamaged(t *testing.T) {
	s := nights(t)
	one, two := content(t, s, "n2/zen.01/visdata"), content(t, s, "n2/zen.02/visdata")
	damage(t, s, "PAPR1001", one[:64])
	damage(t, s, "PAPR1001", two[1000:1064])
	damage(t, s, "PAPR2001", two[2000:2064])
	to := t.TempDir()
	r := bring(t, s, restore.Options{Patterns: []string{"pot1:/n2"}, To: to},
		"pot1:/n2/zen.02: …tape PAPR1001: pot1:/n2/zen.02/visdata: its MD5 is not the one that was archived: …tape PAPR2001: pot1:/n2/zen.02/visdata: its MD5")
	if !slices.Equal(slices.Sorted(slices.Values(r.Suspect)), []string{"PAPR1001", "PAPR2001"}) {
		t.Errorf("suspect are %q", r.Suspect)
	}
	if got, err := os.ReadFile(filepath.Join(to, "pot1/n2/zen.01/visdata")); err != nil || string(got) != one {
		t.Errorf("the file that is good on the twin: %d bytes, %v", len(got), err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "pot1/n2/zen.02/header")); err != nil || string(got) != "small" {
		t.Errorf("beside the damage: %q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(to, "pot1/n2/zen.02/visdata")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is damaged on both: %v", err)
	}
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		if tp, err := s.A.Ledger.Tape(t.Context(), barcode); err != nil || tp.State != ledger.TapeSuspect {
			t.Errorf("%s is %s, %v", barcode, tp.State, err)
		}
	}
	// Only one tape may be read: nothing comes from its twin.
	bring(t, s, restore.Options{Patterns: []string{"pot1:/n2/zen.01"}, To: t.TempDir(), Tape: "PAPR1001"}, "pot1:/n2/zen.01: tape PAPR1001: …MD5")
	bring(t, s, restore.Options{Patterns: []string{"pot1:/n2/zen.01"}, To: t.TempDir(), Tape: "PAPR1002"}, "it is not on tape PAPR1002")
}

// A record that cannot be read, and a tape that ends too early, are damage too; a tape that is another is not read at all.
func TestUnreadable(t *testing.T) {
	s := nights(t)
	name := filepath.Join(s.Tapes, "PAPR1001.tap")
	must(t, os.Truncate(name, 3<<20))
	to := t.TempDir()
	bring(t, s, restore.Options{Patterns: []string{"pot1:/n2", "pot1:/n1/zen.1"}, To: to})
	alike(t, filepath.Join(to, "pot1/n2"), filepath.Join(s.Data, "n2"))

	other, err := os.ReadFile(filepath.Join(s.Tapes, "PAPR1002.tap"))
	must(t, err)
	must(t, os.WriteFile(name, other, 0o644))
	to = t.TempDir()
	r := bring(t, s, restore.Options{Patterns: []string{"pot1:/n1/zen.1"}, To: to})
	alike(t, filepath.Join(to, "pot1/n1/zen.1"), filepath.Join(s.Data, "n1/zen.1"))
	if len(r.Suspect) != 0 {
		t.Errorf("suspect are %q: a foreign cartridge says nothing of ours", r.Suspect)
	}
}

func TestAbsent(t *testing.T) {
	s := nights(t)
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		remove(t, s, barcode)
	}
	to := t.TempDir()
	var failed []string
	for i := range 10 {
		failed = append(failed, fmt.Sprintf("pot1:/n2/zen.%02d: …tape PAPR1001 is not in the library…tape PAPR2001 is not in the library", i))
	}
	r := bring(t, s, restore.Options{Patterns: []string{"pot1:/n2"}, To: to}, failed...)
	if r.Files != 4 || !slices.Equal(r.Absent, []string{"PAPR1001", "PAPR2001"}) {
		t.Errorf("report %+v", r)
	}
}

// remove takes a cartridge out of the library.
func remove(t *testing.T, s *archivertest.Site, barcode string) {
	t.Helper()
	s.A.Library = without{s.A.Library, append(gone(s.A.Library), barcode)}
}

func gone(l tape.Library) []string {
	if w, ok := l.(without); ok {
		return w.barcodes
	}
	return nil
}

// without is a library that some cartridges were taken out of.
type without struct {
	tape.Library
	barcodes []string
}

func (w without) Changer() tape.Changer { return withoutChanger{w.Library.Changer(), w.barcodes} }

type withoutChanger struct {
	tape.Changer
	barcodes []string
}

func (w withoutChanger) Inventory(ctx context.Context) ([]tape.Element, error) {
	elements, err := w.Changer.Inventory(ctx)
	for i := range elements {
		if slices.Contains(w.barcodes, elements[i].Barcode) {
			elements[i].Barcode, elements[i].Full = "", false
		}
	}
	return elements, err
}

// What is there already is never written over, nor through.
func TestInTheWay(t *testing.T) {
	s := nights(t)
	to, outside := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(to, name), []byte(text), 0o644))
	}
	write("pot1/n2/zen.00/visdata", "precious")
	write("pot1/n2/zen.01", "precious")
	must(t, os.MkdirAll(filepath.Join(to, "pot1/n2/zen.02/header"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(to, "pot1/n2/zen.03")))
	must(t, os.Symlink(filepath.Join(outside, "new"), filepath.Join(to, "pot1/n3")))
	must(t, os.MkdirAll(filepath.Join(to, "pot1/n2/zen.04"), 0o755))
	must(t, os.Symlink(filepath.Join(outside, "through"), filepath.Join(to, "pot1/n2/zen.04/header")))
	o := restore.Options{Patterns: []string{"pot1:/n2/zen.0*", "pot1:/n3"}, To: to}
	exists := "something else is there already"
	failed := []string{
		"pot1:/n2/zen.00/visdata: " + exists, "pot1:/n2/zen.01: " + exists, "pot1:/n2/zen.01/header: …" + exists, "pot1:/n2/zen.01/visdata: …" + exists,
		"pot1:/n2/zen.02/header: " + exists, "pot1:/n2/zen.03: " + exists, "pot1:/n2/zen.03/header: …" + exists, "pot1:/n2/zen.03/visdata: …" + exists,
		"pot1:/n2/zen.04/header: " + exists, "pot1:/n3/single: …" + exists,
	}
	bring(t, s, o, failed...)
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside lie %v, %v", left, err)
	}
	for _, name := range []string{"pot1/n2/zen.00/visdata", "pot1/n2/zen.01"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != "precious" {
			t.Errorf("%s is %.20q, %v", name, got, err)
		}
	}
	// Overwriting replaces files and symlinks, never a folder, and follows nothing.
	o.Overwrite = true
	bring(t, s, o, "pot1:/n2/zen.01: …", "pot1:/n2/zen.01/header: …", "pot1:/n2/zen.01/visdata: …", "pot1:/n2/zen.02/header: "+exists,
		"pot1:/n2/zen.03: …", "pot1:/n2/zen.03/header: …", "pot1:/n2/zen.03/visdata: …", "pot1:/n3/single: …")
	for _, name := range []string{"zen.00/visdata", "zen.04/header"} {
		if got, err := os.ReadFile(filepath.Join(to, "pot1/n2", name)); err != nil || string(got) != content(t, s, "n2/"+name) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside lie %v, %v", left, err)
	}
}

// A run that was cut off is repeated, and reads only what is missing.
func TestCutOff(t *testing.T) {
	s := nights(t)
	to := t.TempDir()
	lib := s.A.Library
	ctx, cancel := context.WithCancel(t.Context())
	reads := &counting{Library: lib, after: 30, then: cancel}
	s.A.Library = reads
	_, err := restore.Restore(ctx, s.A, restore.Options{Patterns: []string{"pot1:/"}, To: to})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cut off: %v", err)
	}
	whole := &counting{Library: lib}
	s.A.Library = whole
	r := bring(t, s, restore.Options{Patterns: []string{"pot1:/"}, To: to})
	if r.Already == 0 || r.Files == 0 {
		t.Errorf("report %+v", r)
	}
	alike(t, filepath.Join(to, "pot1/n2"), filepath.Join(s.Data, "n2"))
	alike(t, filepath.Join(to, "pot1/n1/zen.1"), filepath.Join(s.Data, "n1/zen.1"))
}
