package catalog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLabelRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := goldenLabel()
		l.Barcode = rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "barcode")
		l.Twin = rapid.StringMatching(`[!-~]{0,31}`).Filter(func(s string) bool { return s != l.Barcode && s != "" }).Draw(t, "twin")
		l.RecordSize = 512 * rapid.IntRange(8, 4096).Draw(t, "blocks")
		l.Created = time.Unix(rapid.Int64Range(0, 1<<37).Draw(t, "created"), 0).UTC()
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseLabel(b); err != nil || got != l || len(b) != l.RecordSize {
			t.Fatalf("%v: got %+v, want %+v", err, got, l)
		}
	})
}

func TestLabelRefuses(t *testing.T) {
	for name, spoil := range map[string]func(l *Label){
		"tape":         func(l *Label) { l.Tape = "x" },
		"pair":         func(l *Label) { l.Pair = strings.ToUpper(l.Pair) },
		"barcode":      func(l *Label) { l.Barcode = "A\nB" },
		"no twin":      func(l *Label) { l.Twin = "" },
		"its own twin": func(l *Label) { l.Twin = l.Barcode },
		"record size":  func(l *Label) { l.RecordSize = 4097 },
		"too small":    func(l *Label) { l.RecordSize = 1024 },
		"too large":    func(l *Label) { l.RecordSize = 1 << 24 },
		"created":      func(l *Label) { l.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		l := goldenLabel()
		spoil(&l)
		if _, err := l.Encode(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A flipped bit anywhere in the record, padding included, is found.
func TestLabelFlips(t *testing.T) {
	b, err := goldenLabel().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if _, err := ParseLabel(bad); !errors.Is(err, ErrFormat) {
			t.Fatalf("flip in byte %d: %v", i, err)
		}
	}
	for _, bad := range [][]byte{nil, b[:100], b[:len(b)-1], append(bytes.Clone(b), '\n')} {
		if _, err := ParseLabel(bad); !errors.Is(err, ErrFormat) {
			t.Fatalf("%d bytes: %v", len(bad), err)
		}
	}
}

// The text may be worded anew without a new version of the format.
func TestLabelOtherWording(t *testing.T) {
	l := goldenLabel()
	head := l.head()
	b := append([]byte(head+"other words"), bytes.Repeat([]byte("\n"), l.RecordSize-len(head)-11)...)
	if got, err := ParseLabel(seal(b, len(head))); err != nil || got != l {
		t.Fatal(got, err)
	}
}

func FuzzParseLabel(f *testing.F) {
	b, err := goldenLabel().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		// Mend the md5, else no mutation would come behind it.
		key := []byte("\nlabel-md5: ")
		if at := bytes.Index(b, key) + len(key); at >= len(key) && len(b) > at+len(noMD5) {
			b = bytes.Clone(b)
			copy(b[at:], noMD5)
			b = seal(b, at+len(noMD5)+1)
		}
		l, err := ParseLabel(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		again, err := l.Encode()
		if err != nil {
			return // a small record with a shorter text than ours
		}
		if got, err := ParseLabel(again); err != nil || got != l {
			t.Fatal(got, err)
		}
	})
}
