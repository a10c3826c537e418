package catalog

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// onTapeOf is what an archive's tape file tells of it: no member that is not on tape, no reasons.
func onTapeOf(a *Archive) *Archive {
	out := *a
	out.Items = nil
	for _, it := range a.Items {
		all := it.Entries
		it.Entries, it.Bad = nil, ""
		for _, e := range all {
			if !e.Type.OnTape() {
				continue
			}
			if e.Type != File {
				e.MD5 = MD5{}
			}
			if len(e.Xattrs) == 0 {
				e.Xattrs = nil
			}
			it.Entries = append(it.Entries, e)
		}
		out.Items = append(out.Items, it)
	}
	return &out
}

// What was written is read again from the tape file alone; every flipped byte of a member's data is found.
func TestReadArchive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := archive(t, 5000)
		for i := range a.Items {
			a.Items[i].Bad = ""
			for j := range a.Items[i].Entries {
				a.Items[i].Entries[j].Bad = ""
			}
		}
		l, file := build(t, a)
		got, records, damaged, err := ReadArchive(bytes.NewReader(file))
		if err != nil || records != l.Records || len(damaged) > 0 {
			t.Fatal(records, damaged, err)
		}
		want := onTapeOf(a)
		for i := range got.Items {
			for j := range got.Items[i].Entries {
				g, w := got.Items[i].Entries[j], want.Items[i].Entries[j]
				if !g.MTime.Equal(w.MTime) {
					t.Fatalf("mtime %v, want %v", g.MTime, w.MTime)
				}
				g.MTime = w.MTime
				if !reflect.DeepEqual(g, w) {
					t.Fatalf("got %+v, want %+v", g, w)
				}
			}
		}
		if least, err := got.LeastRecords(); err != nil || least > records {
			t.Fatalf("at least %d of %d records: %v", least, records, err)
		}
		if kind := TapeFileKind(file[:min(len(file), 64<<10)]); kind != ArchiveFile {
			t.Fatalf("it is %s", kind)
		}
		for i := range a.Items {
			for j := range a.Items[i].Entries {
				e := &a.Items[i].Entries[j]
				if e.Type != File || e.Size == 0 {
					continue
				}
				at := (e.Record-a.Record)*int64(a.RecordSize) + int64(e.Offset+e.Header)
				file[at] ^= 1
				_, _, damaged, err := ReadArchive(bytes.NewReader(file))
				if err != nil || len(damaged) != 1 || damaged[i] == "" {
					t.Fatalf("a flip in item %d: %v, %v", i, damaged, err)
				}
				file[at] ^= 1
			}
		}
	})
}

// A member that went bad when the tape was written has no md5; a tape file that is cut off, or goes on, is none.
func TestReadArchiveGolden(t *testing.T) {
	_, file, closing := goldenTape(t)
	a, _, damaged, err := ReadArchive(bytes.NewReader(file))
	if err != nil || len(damaged) > 0 {
		t.Fatal(damaged, err)
	}
	bad := 0
	for e := range a.onTape() {
		if e.Type == File && e.MD5.IsZero() != (e.Bad != "") {
			t.Errorf("%s: md5 %s, %q", e.Path, e.MD5, e.Bad)
		}
		if e.Bad != "" {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("%d members are bad", bad)
	}
	for n := 0; n < len(file); n += 512 {
		if _, _, _, err := ReadArchive(bytes.NewReader(file[:n])); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	if _, _, _, err := ReadArchive(bytes.NewReader(append(file, 0))); !errors.Is(err, ErrFormat) {
		t.Errorf("with more behind it: %v", err)
	}
	if kind := TapeFileKind(closing); kind != CatalogFile {
		t.Errorf("the catalog is %s", kind)
	}
	if kind := TapeFileKind([]byte("VOL1")); kind != OtherFile {
		t.Errorf("another label is %s", kind)
	}
}

func FuzzReadArchive(f *testing.F) {
	_, file, _ := goldenTape(f)
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		TapeFileKind(b)
		if head, err := ReadArchiveHead(bytes.NewReader(b)); err == nil {
			if _, err := head.LeastRecords(); err != nil && !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
		}
		a, records, _, err := ReadArchive(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if l, err := a.Layout(); err != nil || l.Records != records || records*int64(a.RecordSize) != int64(len(b)) {
			t.Fatal(l, records, len(b), err)
		}
	})
}
