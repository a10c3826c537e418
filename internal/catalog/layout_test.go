package catalog

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Every entry lies where Layout says, and the archive is a whole tar of the length Layout says.
func TestLayoutAndPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := archive(t, 3000)
		outcome(t, a)
		l, b := build(t, a)
		if int64(len(b)) != l.Records*int64(a.RecordSize) || l.Bytes > int64(len(b)) || l.Bytes+int64(a.RecordSize) <= int64(len(b)) {
			t.Fatalf("%d bytes, layout %+v", len(b), l)
		}
		data := int64(0)
		for e := range a.onTape() {
			at := (e.Record-a.Record)*int64(a.RecordSize) + int64(e.Offset)
			got, n, err := ParseHeader(b[at:])
			if err != nil || n != e.Header || got.Path != e.Path || got.Type != e.Type || got.Size != e.Size || e.Archive != a.Number {
				t.Fatalf("at %d: %+v %v, want %+v", at, got, err, e)
			}
			if body := b[at+int64(n):][:e.Size]; !bytes.Equal(body, content(e)) {
				t.Fatalf("data of %q", e.Path)
			}
			data += e.Size
		}
		if data != l.Data {
			t.Fatalf("data %d, layout says %d", data, l.Data)
		}
		checkTar(t, a, b)
	})
}

// checkTar reads the archive as a tar: the manifest first, the sums last, nothing behind.
func checkTar(t *rapid.T, a *Archive, b []byte) {
	r := tar.NewReader(bytes.NewReader(b))
	h, err := r.Next()
	if err != nil || h.Name != fmt.Sprintf(".twintape/%s/%d.manifest.jsonl", a.Session, a.Number) {
		t.Fatal(h, err)
	}
	m, err := ReadManifest(r)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, manifestOf(a)) {
		t.Fatalf("manifest\n got %+v\nwant %+v", m, manifestOf(a))
	}
	for e := range a.onTape() {
		if h, err = r.Next(); err != nil || strings.TrimSuffix(h.Name, "/") != strings.TrimSuffix(e.Host+e.Path, "/") {
			t.Fatal(h, err, e.Path)
		}
	}
	h, err = r.Next()
	if err != nil || h.Name != fmt.Sprintf(".twintape/%s/%d.MD5SUMS", a.Session, a.Number) {
		t.Fatal(h, err)
	}
	if sums, err := io.ReadAll(r); err != nil || !bytes.Equal(sums, a.SumsText()) {
		t.Fatal(err)
	}
	if _, err = r.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

// manifestOf is what a manifest keeps of an archive.
func manifestOf(a *Archive) *Archive {
	m := *a
	m.Items = nil
	for _, it := range a.Items {
		short := Item{ID: it.ID, Host: it.Host, Path: it.Path}
		for _, e := range it.Entries {
			if e.Type.OnTape() {
				short.Entries = append(short.Entries, Entry{Host: e.Host, Path: e.Path, Type: e.Type, Size: e.Size})
			}
		}
		m.Items = append(m.Items, short)
	}
	return &m
}

// The layout does not change with what a run finds out.
func TestLayoutKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := archive(t, maxSize/1000)
		before, err := a.Layout()
		if err != nil {
			t.Fatal(err)
		}
		places := map[string]Place{}
		for e := range a.onTape() {
			places[e.Host+e.Path] = e.Place
		}
		outcome(t, a)
		after, err := a.Layout()
		if err != nil || before != after || int64(len(a.SumsText())) != after.Sums {
			t.Fatal(before, after, err)
		}
		for e := range a.onTape() {
			if places[e.Host+e.Path] != e.Place {
				t.Fatal(e.Path)
			}
		}
	})
}

func TestLayoutRefuses(t *testing.T) {
	for name, spoil := range map[string]func(a *Archive){
		"session":          func(a *Archive) { a.Session = "x" },
		"record size":      func(a *Archive) { a.RecordSize = 1000 },
		"record":           func(a *Archive) { a.Record = 0 },
		"number":           func(a *Archive) { a.Number = 0 },
		"outside its item": func(a *Archive) { a.Items[0].Entries[1].Path = "/elsewhere" },
		"another host":     func(a *Archive) { a.Items[0].Entries[1].Host = "pot2" },
		"bad name":         func(a *Archive) { a.Items[0].Entries[1].Path += "/\x00" },
		"sum of sizes": func(a *Archive) {
			e := a.Items[0].Entries[1]
			e.Size = maxSize
			a.Items[0].Entries = append(a.Items[0].Entries, e, e)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := goldenArchive()
			spoil(a)
			if _, err := a.Layout(); err == nil {
				t.Fatal("accepted")
			} else if e := (*EntryError)(nil); !errors.Is(err, ErrFormat) && !errors.As(err, &e) {
				t.Fatal(err)
			}
		})
	}
}

// A consumer may stop at any piece.
func TestPiecesStop(t *testing.T) {
	a := goldenArchive()
	n := 0
	for range a.Pieces() {
		n++
	}
	for stop := range n {
		i := 0
		for _, err := range a.Pieces() {
			if err != nil {
				t.Fatal(err)
			}
			if i++; i > stop {
				break
			}
		}
	}
}

func BenchmarkLayout(b *testing.B) {
	a := &Archive{Pair: pairUUID, Session: sessionUUID, Job: jobUUID, Number: 1, TapeFile: 1, Record: 2, RecordSize: DefaultRecordSize}
	it := Item{Host: "pot1", Path: "/data"}
	for i := range 100000 {
		it.Entries = append(it.Entries, Entry{
			Host: "pot1", Path: fmt.Sprintf("/data/zen.2456620.%05d.xx.uv/visdata", i), Type: File, Size: 1 << 20, Mode: 0o644, MTime: session(a).Closed, User: "obs",
		})
	}
	a.Items = []Item{it}
	for b.Loop() {
		if _, err := a.Layout(); err != nil {
			b.Fatal(err)
		}
	}
}
