package tapetree_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/internal/ledger"
	"twintape/internal/tapetree"
	"twintape/sources"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a host whose data is archived onto a pair, night after night, and what is shown of it.
type site struct {
	*archivertest.Site
	tree *tapetree.Tree
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{Site: archivertest.New(t, 2, 1<<30)}
	s.tree = &tapetree.Tree{Ledger: s.A.Ledger, Scratch: s.Dir, Changed: archiver.SameEntry}
	return s
}

// shown is what an entry of a tape must have in common with what was archived.
func shown(i sources.Info) string {
	if i.Mode.IsDir() {
		return fmt.Sprint(i.Name, i.Mode, i.MTime.UTC(), i.UID, i.GID)
	}
	return fmt.Sprint(i.Name, i.Mode, i.Size, i.MTime.UTC(), i.UID, i.GID, i.User, i.Group)
}

// compare walks a folder of the tree and the one it was made from.
func (s *site) compare(at, from string) int {
	s.T.Helper()
	ctx := s.T.Context()
	want, err := s.Source.Stat(ctx, from)
	must(s.T, err)
	got, err := s.tree.Stat(ctx, at)
	if err != nil || shown(got) != shown(want) {
		s.T.Errorf("%q is %s, %v, want %s", at, shown(got), err, shown(want))
	}
	if want.Mode&fs.ModeSymlink != 0 {
		wantLink, err := s.Source.Readlink(ctx, from)
		must(s.T, err)
		if link, err := s.tree.Readlink(ctx, at); err != nil || link != wantLink {
			s.T.Errorf("%q leads to %q, %v, want %q", at, link, err, wantLink)
		}
	}
	if !want.Mode.IsDir() {
		return 1
	}
	list, err := s.Source.ReadDir(ctx, from)
	must(s.T, err)
	gotList, err := s.tree.ReadDir(ctx, at)
	must(s.T, err)
	if len(gotList) != len(list) {
		s.T.Errorf("%q has %d entries, want %d", at, len(gotList), len(list))
		return 1
	}
	n := 1
	for i, info := range list {
		if shown(gotList[i]) != shown(info) {
			s.T.Errorf("%q is listed as %s, want %s", at, shown(gotList[i]), shown(info))
		}
		n += s.compare(path.Join(at, info.Name), path.Join(from, info.Name))
	}
	return n
}

func (s *site) names(at string) (names []string) {
	s.T.Helper()
	list, err := s.tree.ReadDir(s.T.Context(), at)
	must(s.T, err)
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

func (s *site) read(at string) string {
	s.T.Helper()
	f, err := s.tree.Open(s.T.Context(), at)
	must(s.T, err)
	defer f.Close()
	info, err := f.Stat(s.T.Context())
	must(s.T, err)
	listed, err := s.tree.Stat(s.T.Context(), at)
	must(s.T, err)
	data := make([]byte, info.Size+1)
	n, err := f.ReadAt(s.T.Context(), data, 0)
	if err != io.EOF || int64(n) != info.Size || listed.Size != info.Size {
		s.T.Fatalf("%s: %d bytes of %d, listed as %d: %v", at, n, info.Size, listed.Size, err)
	}
	return string(data[:n])
}

// fill makes two nights of data.
func (s *site) fill() {
	s.T.Helper()
	s.Fill("n1/zen.1")
	s.File("n1/single", "one")
	s.File("n2/zen.2/visdata", "two")
}

func TestTree(t *testing.T) {
	s := newSite(t)
	s.fill()
	s.Archive("pot1:/n1/*")
	s.Archive("pot1:/n2/*")
	for _, tape := range []string{"PAPR1001", "PAPR2001", "all"} {
		if n := s.compare("/"+tape+"/pot1/n1/zen.1", "/n1/zen.1") + s.compare("/"+tape+"/pot1/n1/single", "/n1/single") +
			s.compare("/"+tape+"/pot1/n2/zen.2", "/n2/zen.2"); n != 21 {
			t.Errorf("%s: %d entries were compared", tape, n)
		}
		if names := s.names("/" + tape + "/pot1"); !slices.Equal(names, []string{"n1", "n2"}) {
			t.Errorf("%s: the host has %q", tape, names)
		}
	}
	for at, want := range map[string][]string{
		"/": {"PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002", "all"}, "/all": {"pot1"}, "/PAPR1002": nil,
		"/PAPR1001": {".MD5SUMS", ".catalog.jsonl", ".label", "pot1"},
	} {
		if names := s.names(at); !slices.Equal(names, want) {
			t.Errorf("%s holds %q, want %q", at, names, want)
		}
	}

	// Of two versions on one tape the newer is shown.
	s.File("n2/zen.2/visdata", "newer")
	s.Archive("pot1:/n2/*")
	s.compare("/all/pot1/n2/zen.2", "/n2/zen.2")
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	s.fill()
	s.Archive("pot1:/n1/*")
	s.Archive("pot1:/n2/*")
	for _, tape := range []string{"PAPR1001", "PAPR2001"} {
		image, err := os.ReadFile(filepath.Join(s.Tapes, tape+".tap"))
		must(t, err)
		label := image[4 : 4+binary.LittleEndian.Uint32(image)]
		if got := s.read("/" + tape + "/.label"); got != string(bytes.TrimRight(label, "\n"))+"\n" {
			t.Errorf("%s: the label is\n%s", tape, got)
		}
		catalogs := s.read("/" + tape + "/.catalog.jsonl")
		if n := strings.Count(catalogs, `{"line":"session"`); n != 2 {
			t.Errorf("%s: %d sessions", tape, n)
		}
		for _, one := range strings.SplitAfter(catalogs, "\n{\"line\":\"session\"")[1:] {
			if !bytes.Contains(image, []byte(one[:min(len(one), 2000)])) {
				t.Errorf("%s: the catalog is not as on tape: %.200s", tape, one)
			}
		}
		// md5sum takes it, beside the host's data.
		dir := t.TempDir()
		must(t, os.Symlink(s.Data, filepath.Join(dir, "pot1")))
		must(t, os.WriteFile(filepath.Join(dir, "sums"), []byte(s.read("/"+tape+"/.MD5SUMS")), 0o644))
		cmd := exec.Command("md5sum", "-c", "--strict", "sums")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Count(out, []byte(": OK\n")) != 12 {
			t.Errorf("%s: md5sum: %v\n%s", tape, err, out)
		}
	}
	left, err := filepath.Glob(filepath.Join(s.tree.Scratch, "browse-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestErrors(t *testing.T) {
	s := newSite(t)
	s.fill()
	s.Archive("pot1:/n1/*")
	ctx := t.Context()
	wrong := func(what string, err, want error) {
		t.Helper()
		var e *sources.Error
		if !errors.As(err, &e) || e.Host != tapetree.Name || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	for _, p := range []string{"/none", "/PAPR1001/none", "/PAPR1001/pot1/none", "/all/none", "/PAPR1002/.label", "/PAPR1001/.none", "/all/.label", "/PAPR1001/.label/x", "/PAPR1002/pot1/n1"} {
		_, err := s.tree.Stat(ctx, p)
		wrong("stat "+p, err, fs.ErrNotExist)
		_, err = s.tree.ReadDir(ctx, p)
		wrong("list "+p, err, fs.ErrNotExist)
		_, err = s.tree.Open(ctx, p)
		wrong("open "+p, err, fs.ErrNotExist)
		_, err = s.tree.Readlink(ctx, p)
		wrong("readlink "+p, err, fs.ErrNotExist)
	}
	for _, p := range []string{"/PAPR1001/pot1/n1/single", "/all/pot1/n1/single", "/all/pot1/n1/zen.1/sub/hard"} {
		_, err := s.tree.Open(ctx, p)
		wrong("open "+p, err, tapetree.ErrOnTape)
		wrong("open "+p, err, syscall.ENOMEDIUM)
		_, err = s.tree.ReadDir(ctx, p)
		wrong("list "+p, err, syscall.ENOTDIR)
		_, err = s.tree.Readlink(ctx, p)
		wrong("readlink "+p, err, syscall.EINVAL)
	}
	_, err := s.tree.Open(ctx, "/PAPR1001/pot1/n1")
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("open a folder: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.tree.ReadDir(cancelled, "/PAPR1001/pot1/n1")
	wrong("list when cancelled", err, context.Canceled)
}

// cupboard stands for a Recaller: it has everything at hand.
type cupboard struct{ s *site }

func (c cupboard) Recall(_ context.Context, m ledger.Browsed, barcode string) (*os.File, error) {
	if barcode == "PAPR2001" {
		return nil, fmt.Errorf("it is torn: %w", syscall.EIO)
	}
	return os.Open(filepath.Join(c.s.Data, m.Path))
}

func (c cupboard) Residency(_ context.Context, m ledger.Browsed, barcodes []string) string {
	if path.Base(m.Path) == "a" {
		return "" // not known
	}
	return "in the cupboard, as " + strings.Join(barcodes, " and ")
}

func TestRecall(t *testing.T) {
	s := newSite(t)
	s.fill()
	s.Archive("pot1:/n1/*")
	s.tree.Recaller = cupboard{s}
	ctx := t.Context()
	for _, p := range []string{"/PAPR1001/pot1/n1/single", "/all/pot1/n1/single"} {
		if got := s.read(p); got != "one" {
			t.Errorf("%s holds %q", p, got)
		}
	}
	f, err := s.tree.Open(ctx, "/all/pot1/n1/single")
	must(t, err)
	defer f.Close()
	listed, err := s.tree.Stat(ctx, "/all/pot1/n1/single")
	must(t, err)
	if info, err := f.Stat(ctx); err != nil || info != listed {
		t.Errorf("the open file is %v, %v, want %v", info, err, listed)
	}
	var e *sources.Error
	if _, err := s.tree.Open(ctx, "/PAPR2001/pot1/n1/single"); !errors.Is(err, syscall.EIO) || !errors.As(err, &e) || e.Path != "/PAPR2001/pot1/n1/single" {
		t.Errorf("the torn one: %v", err)
	}
	if got := s.read("/PAPR1001/.label"); !strings.Contains(got, "PAPR1001") {
		t.Errorf("the label is %q", got)
	}
	const where = "user.twintape.residency"
	for p, want := range map[string]string{"single": "in the cupboard, as PAPR1001 and PAPR2001", "zen.1/a": "", "zen.1": "", "zen.1/sub/relative": ""} {
		if got, err := s.tree.Xattrs(ctx, "/PAPR1001/pot1/n1/"+p); err != nil || got[where] != want {
			t.Errorf("%s is %q, %v, want %q", p, got[where], err, want)
		}
	}
	for p, want := range map[string]string{"/n1/single": "online", "/n2/zen.2/visdata": "online", "/n1": ""} {
		now, err := s.Source.Stat(ctx, p)
		must(t, err)
		if got, err := s.tree.HostXattrs(ctx, "pot1", p, now); err != nil || got[where] != want {
			t.Errorf("%s on its host is %q, %v, want %q", p, got[where], err, want)
		}
	}
}

func TestXattrs(t *testing.T) {
	s := newSite(t)
	s.fill()
	s.Archive("pot1:/n1/*")
	ctx := t.Context()
	const sum = "f97c5d29941bfb1b2fdab0874906ab82" // of "one"
	want := map[string]string{
		"user.twintape.host": "pot1", "user.twintape.md5": sum, "user.twintape.tapes": "PAPR1001,PAPR2001", "user.twintape.state": "deletable",
	}
	same := func(what string, got map[string]string, err error, want map[string]string) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s has %v, %v, want %v", what, got, err, want)
		}
	}
	host := func(p string) (map[string]string, error) {
		t.Helper()
		now, err := s.Source.Stat(ctx, p)
		must(t, err)
		return s.tree.HostXattrs(ctx, "pot1", p, now)
	}
	nothing, changed := map[string]string{"user.twintape.host": "pot1"}, map[string]string{"user.twintape.host": "pot1", "user.twintape.state": "changed"}
	got, err := s.tree.Xattrs(ctx, "/PAPR2001/pot1/n1/single")
	same("the file on tape", got, err, want)
	got, err = host("/n1/single")
	same("the file on its host", got, err, want)
	got, err = host("/n1")
	same("a folder above items", got, err, nothing)
	got, err = s.tree.Xattrs(ctx, "/all/pot1/n1")
	same("a folder above items on tape", got, err, nothing)
	got, err = s.tree.Xattrs(ctx, "/PAPR1001/.label")
	same("a label", got, err, nil)

	s.File("n1/zen.1/new", "x")
	got, err = host("/n1/zen.1/new")
	same("what came to its item later", got, err, changed)
	must(t, os.WriteFile(filepath.Join(s.Data, "n1/single"), []byte("two"), 0o644))
	got, err = host("/n1/single")
	same("what was changed", got, err, changed)
	_, err = s.A.QueueAdd(ctx, []string{"pot1:/n1/single", "pot1:/n2/*"}, nil, archiver.QueueOptions{Again: true})
	must(t, err)
	for _, p := range []string{"/n1/single", "/n2/zen.2/visdata"} {
		got, err = host(p)
		same(p, got, err, map[string]string{"user.twintape.host": "pot1", "user.twintape.state": "queued"})
	}
}
