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
)

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		it := item(t, 0, maxSize)
		for i := range it.Entries {
			e := &it.Entries[i]
			if !e.Type.OnTape() {
				continue
			}
			b, err := Header(e)
			if err != nil {
				t.Fatal(err)
			}
			got, n, err := ParseHeader(append(bytes.Clone(b), "what follows"...))
			if err != nil {
				t.Fatal(err)
			}
			want := *e
			want.Header = len(b)
			if n != len(b) || !reflect.DeepEqual(got, want) {
				t.Fatalf("%d of %d bytes:\n got %+v\nwant %+v", n, len(b), got, want)
			}
		}
	})
}

func TestHeaderRefuses(t *testing.T) {
	good := Entry{Host: "pot1", Path: "/data/f", Type: File, Size: 1, Mode: 0o644, MTime: time.Unix(1, 0)}
	for name, spoil := range map[string]func(e *Entry){
		"NUL in path":     func(e *Entry) { e.Path = "/data/\x00" },
		"long name":       func(e *Entry) { e.Path = "/" + strings.Repeat("x", 256) },
		"long path":       func(e *Entry) { e.Path = strings.Repeat("/"+strings.Repeat("x", 200), 21) },
		"relative":        func(e *Entry) { e.Path = "data" },
		"not clean":       func(e *Entry) { e.Path = "/data/../f" },
		"trailing slash":  func(e *Entry) { e.Path = "/data/" },
		"root is a file":  func(e *Entry) { e.Path = "/" },
		"our own folder":  func(e *Entry) { e.Host = ".twintape" },
		"no host":         func(e *Entry) { e.Host = "" },
		"host is a path":  func(e *Entry) { e.Host = "a/b" },
		"host is dots":    func(e *Entry) { e.Host = ".." },
		"mode":            func(e *Entry) { e.Mode = 0o100644 },
		"negative size":   func(e *Entry) { e.Size = -1 },
		"huge":            func(e *Entry) { e.Size = maxSize + 1 },
		"year 10000":      func(e *Entry) { e.MTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"socket":          func(e *Entry) { e.Type, e.Size = Socket, 0 },
		"no type":         func(e *Entry) { e.Type = "" },
		"dir with data":   func(e *Entry) { e.Type = Dir },
		"no target":       func(e *Entry) { e.Type, e.Size = Symlink, 0 },
		"long target":     func(e *Entry) { e.Type, e.Size, e.Link = Symlink, 0, strings.Repeat("x", 4096) },
		"relative link":   func(e *Entry) { e.Type, e.Size, e.Link = Hardlink, 0, "f" },
		"file with link":  func(e *Entry) { e.Link = "/data/g" },
		"NUL in user":     func(e *Entry) { e.User = "\x00" },
		"xattr's name":    func(e *Entry) { e.Xattrs = map[string]string{"": "x"} },
		"too many xattrs": func(e *Entry) { e.Xattrs = map[string]string{"user.x": strings.Repeat("x", maxHeader)} },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			spoil(&e)
			_, err := Header(&e)
			var want *EntryError
			if !errors.As(err, &want) || want.Path != e.Path {
				t.Fatalf("got %v, want an EntryError", err)
			}
			if strings.ContainsAny(err.Error(), "\x00\n") {
				t.Fatalf("message is not one line of text: %q", err)
			}
		})
	}
	if _, err := Header(&good); err != nil {
		t.Fatal(err)
	}
	limit := good
	limit.Path = strings.Repeat("/"+strings.Repeat("x", 203), 20) // with host and slash 4085
	limit.Path += "/" + strings.Repeat("y", maxPath-len(limit.Path)-len("pot1")-2)
	limit.Type, limit.Size = Dir, 0
	if b, err := Header(&limit); err != nil {
		t.Fatal(err)
	} else if got, _, err := ParseHeader(b); err != nil || got.Path != limit.Path {
		t.Fatal(err)
	}
}

// Whatever is accepted as a header can be written, and reads the same again.
func FuzzParseHeader(f *testing.F) {
	for _, e := range goldenArchive().Items[0].Entries {
		if b, err := Header(&e); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, n, err := ParseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) && err != io.EOF {
				t.Fatal(err)
			}
			return
		}
		if n > len(b) || n%block != 0 {
			t.Fatalf("header of %d in %d bytes", n, len(b))
		}
		again, err := Header(&e)
		if err != nil {
			t.Fatal(err)
		}
		got, n, err := ParseHeader(again)
		e.Header = n
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, e)
		}
	})
}
