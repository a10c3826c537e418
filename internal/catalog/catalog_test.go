package catalog

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"twintape/internal/digest"
)

// follow makes b lie behind a in the same session.
func follow(b, a *Archive, records int64) {
	b.RecordSize, b.Number, b.TapeFile, b.Record = a.RecordSize, a.Number+1, a.TapeFile+1, a.Record+records+1
}

func TestCatalogRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := archive(t, maxSize/1000), archive(t, 3000)
		la, err := a.Layout()
		if err != nil {
			t.Fatal(err)
		}
		follow(b, a, la.Records)
		lb, err := b.Layout()
		if err != nil {
			t.Fatal(err)
		}
		outcome(t, a)
		outcome(t, b)
		s := session(a)
		s.Number = 3
		if a.Record > 30 {
			s.Earlier = []Earlier{{Session: tapeUUID, TapeFile: 3, Record: 9, MD5: wideMD5}, {Session: pairUUID, TapeFile: 8, Record: 12, MD5: wideMD5}}
		}
		var out bytes.Buffer
		size, sum := encode(t, &out, s, []int64{la.Records, lb.Records}, a, b)
		if size != int64(out.Len()) || sum != digest.MD5(out.Bytes()) {
			t.Fatal("size or md5 of the catalog")
		}
		r, err := NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r.Session(), s) {
			t.Fatalf("got %+v, want %+v", r.Session(), s)
		}
		for i, want := range []*Archive{a, b} {
			got, n, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			short(want)
			if !reflect.DeepEqual(got, want) || n != []Layout{la, lb}[i].Records {
				t.Fatalf("archive %d of %d records\n got %+v\nwant %+v", i, n, got, want)
			}
		}
		for range 2 {
			if _, _, err := r.Next(); err != io.EOF {
				t.Fatal(err)
			}
		}
	})
}

// short makes reasons what the catalog keeps of them.
func short(a *Archive) {
	for i := range a.Items {
		a.Items[i].Bad = reason(a.Items[i].Bad, maxItemReason)
		for j := range a.Items[i].Entries {
			e := &a.Items[i].Entries[j]
			e.Bad = reason(e.Bad, maxMemberReason)
		}
	}
}

func TestReason(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "fine": "fine", "a\nb\x00": "a?b?", "\xff": "\uFFFD", "tab\tü": "tab?ü", strings.Repeat("é", 10): "éééé",
	} {
		if got := reason(in, 9); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// What is not true of a tape is not written.
func TestWriterRefuses(t *testing.T) {
	for name, spoil := range map[string]func(a *Archive, records *int64){
		"another session":  func(a *Archive, _ *int64) { a.Session = tapeUUID },
		"no records":       func(_ *Archive, n *int64) { *n = 0 },
		"too few records":  func(_ *Archive, n *int64) { *n /= 2 },
		"before session":   func(a *Archive, _ *int64) { a.Record-- },
		"no md5, no error": func(a *Archive, _ *int64) { a.Items[1].Entries[0].MD5 = MD5{} },
		"no place":         func(a *Archive, _ *int64) { a.Items[1].Entries[0].Place = Place{} },
		"another archive":  func(a *Archive, _ *int64) { a.Items[1].Entries[0].Archive = 9 },
		"gap":              func(a *Archive, _ *int64) { a.Items[0].Entries[3].Offset += 512 },
		"huge header":      func(a *Archive, _ *int64) { a.Items[1].Entries[0].Header = 1 << 30 },
		"far away":         func(a *Archive, _ *int64) { a.Items[0].Entries[0].Record = 1 << 62 },
		"bad entry":        func(a *Archive, _ *int64) { a.Items[0].Entries[1].Type = "x" },
		"outside the item": func(a *Archive, _ *int64) { a.Items[0].Entries[1].Path = "/x" },
		"mtime":            func(a *Archive, _ *int64) { a.Items[0].Entries[1].MTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			a := goldenArchive()
			l, _ := build(t, a)
			s := session(a)
			c := NewWriter(io.Discard, s)
			spoil(a, &l.Records)
			if err := c.Archive(a, l.Records); !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			if _, _, err := c.Close(); !errors.Is(err, ErrFormat) {
				t.Fatal("an incomplete catalog was closed:", err)
			}
		})
	}
	a := goldenArchive()
	l, _ := build(t, a)
	c := NewWriter(io.Discard, session(a))
	if err := c.Archive(a, l.Records); err != nil {
		t.Fatal(err)
	}
	if err := c.Archive(a, l.Records); !errors.Is(err, ErrFormat) {
		t.Fatal("the same archive twice:", err)
	}
}

// goldenLines is the catalog of goldenArchive.
func goldenLines(t rapid.TB) []byte {
	a := goldenArchive()
	l, _ := build(t, a)
	var b bytes.Buffer
	encode(t, &b, session(a), []int64{l.Records}, a)
	return b.Bytes()
}

func readAll(b []byte) (Session, []*Archive, []int64, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return Session{}, nil, nil, err
	}
	var all []*Archive
	var records []int64
	for {
		a, n, err := r.Next()
		if err == io.EOF {
			return r.Session(), all, records, nil
		}
		if err != nil {
			return Session{}, nil, nil, err
		}
		all, records = append(all, a), append(records, n)
	}
}

func TestReaderRefuses(t *testing.T) {
	good := string(goldenLines(t))
	if _, _, _, err := readAll([]byte(good)); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(good, "\n")
	for name, bad := range map[string]string{
		"empty":            "",
		"no head":          strings.Join(lines[1:], ""),
		"no end":           strings.Join(lines[:len(lines)-2], ""),
		"half a line":      good[:len(good)-1],
		"more behind":      good + "\n",
		"line missing":     strings.Join(append(append([]string{}, lines[:5]...), lines[6:]...), ""),
		"line twice":       strings.Join(append(append([]string{}, lines[:5]...), lines[4:]...), ""),
		"unknown line":     strings.Replace(good, `{"line":"item"`, `{"line":"thing"`, 1),
		"unknown field":    strings.Replace(good, `"uid"`, `"uidd"`, 1),
		"two values":       strings.Replace(good, "}\n", "}{}\n", 1),
		"version":          strings.Replace(good, `"version":1`, `"version":2,"new":0`, 1),
		"needless base64":  strings.Replace(good, `"path":"/data/zen.2456620.16691.xx.uv/visdata"`, `"path_b64":"L2RhdGE="`, 1),
		"items":            strings.Replace(good, `"items":2}`, `"items":-2}`, 1),
		"mode":             strings.Replace(good, `"mode":"0644"`, `"mode":"644"`, 1),
		"counts":           strings.Replace(good, `{"line":"end","archives":1`, `{"line":"end","archives":2`, 1),
		"socket's place":   strings.Replace(good, `"type":"file","size":0`, `"type":"socket","size":0`, 1),
		"line without end": strings.Repeat("x", maxLine+10),
	} {
		_, _, _, err := readAll([]byte(bad))
		if bad == good || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "version" && !strings.Contains(err.Error(), "version 2") {
			t.Errorf("a later version is not named: %v", err)
		}
	}
}

// A failing medium is not taken for a wrong format.
func TestReaderPassesErrors(t *testing.T) {
	broken := errors.New("drive 0 failed")
	good := goldenLines(t)
	for at := range len(good) {
		r, err := NewReader(io.MultiReader(bytes.NewReader(good[:at]), failing{broken}))
		if err == nil {
			for err == nil {
				_, _, err = r.Next()
			}
		}
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Fatalf("after %d bytes: %v", at, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Whatever is accepted can be written, and reads the same again.
func FuzzReader(f *testing.F) {
	f.Add(goldenLines(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, all, records, err := readAll(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		encode(t, &again, s, records, all...)
		s2, all2, records2, err := readAll(again.Bytes())
		for _, a := range all {
			short(a)
		}
		if err != nil || !reflect.DeepEqual(s2, s) || !reflect.DeepEqual(all2, all) || !reflect.DeepEqual(records2, records) {
			t.Fatal(err, s, s2)
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	var b bytes.Buffer
	if err := goldenArchive().writeManifest(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadManifest(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		if err := a.writeManifest(&again); err != nil {
			t.Fatal(err)
		}
		if a2, err := ReadManifest(&again); err != nil || !reflect.DeepEqual(a, a2) {
			t.Fatal(err)
		}
	})
}
