package catalog

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"twintape/internal/digest"
)

const (
	pairUUID    = "6f0b6a54-3f0e-4c1b-9f5d-0a6c1d2e3f40"
	sessionUUID = "0b8a2f1c-77aa-4d5e-8c11-223344556677"
	jobUUID     = "c0ffee00-1234-4abc-9def-001122334455"
	tapeUUID    = "11111111-2222-4333-8444-555555555555"
)

// name draws one path element: mostly plain, often hostile.
func name() *rapid.Generator[string] {
	hostile := rapid.SampledFrom([]string{
		"-rf", " ", "a\nb", "back\\slash", "\r", "cr\r", "\xff\xfe", "caf\xe9", "naïve", "日本", "\x01\x02\b\f\x7f", "\u2028", "<&>\"'",
		strings.Repeat("x", maxName), strings.Repeat("\n", 60), strings.Repeat("é", 120), "*", "$(id)", "..a", "c:d", "%s",
	})
	bytes := rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 20), func(b []byte) string {
		s := strings.NewReplacer("/", "_", "\x00", "_").Replace(string(b))
		if s == "." || s == ".." {
			return "dots"
		}
		return s
	})
	return rapid.OneOf(rapid.StringMatching(`[a-z0-9.]{1,12}z`), hostile, bytes)
}

func stamp() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		sec := rapid.OneOf(rapid.Int64Range(-62135596799, 253402300799), rapid.Int64Range(0, 2e9)).Draw(t, "seconds")
		nsec := rapid.SampledFrom([]int64{0, 0, 1, 500000000, 999999999, 123456789}).Draw(t, "nanoseconds")
		return time.Unix(sec, nsec).UTC()
	})
}

func draw(t *rapid.T, kinds ...Type) Entry {
	e := Entry{
		Type:  rapid.SampledFrom(kinds).Draw(t, "type"),
		Mode:  uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode")),
		MTime: stamp().Draw(t, "mtime"),
		UID:   rapid.OneOf(rapid.Uint32(), rapid.Just[uint32](0), rapid.Just[uint32](math.MaxUint32)).Draw(t, "uid"),
		GID:   rapid.Uint32().Draw(t, "gid"),
		User:  rapid.SampledFrom([]string{"", "root", "öbs", "\xff", strings.Repeat("u", 40)}).Draw(t, "user"),
		Group: rapid.SampledFrom([]string{"", "wheel", strings.Repeat("é", 100)}).Draw(t, "group"),
	}
	if rapid.IntRange(0, 3).Draw(t, "with xattrs") == 0 {
		e.Xattrs = rapid.MapOfN(rapid.SampledFrom([]string{"user.a", "user.a=b", "user.%41%", "security.selinux", "user.\xff", "user.\n"}),
			rapid.SampledFrom([]string{"", "v", "\x00\xff=\n", strings.Repeat("x", 3000)}), 1, 6).Draw(t, "xattrs")
	}
	return e
}

// item draws an item with its members; sizes may be anything up to maxData.
func item(t *rapid.T, number int, maxData int64) Item {
	host := rapid.SampledFrom([]string{"pot1", "still-2.example", "höst", strings.Repeat("h", 200)}).Draw(t, "host")
	it := Item{Host: host, ID: rapid.Int64Range(0, math.MaxInt64).Draw(t, "id"), Path: path.Join("/data", fmt.Sprint(number), name().Draw(t, "item"))}
	if rapid.IntRange(0, 4).Draw(t, "single file") == 0 {
		e := draw(t, File)
		e.Host, e.Path, e.Size = host, it.Path, rapid.Int64Range(0, maxData).Draw(t, "size")
		it.Entries = []Entry{e}
		return it
	}
	root := draw(t, Dir)
	root.Host, root.Path = host, it.Path
	it.Entries = []Entry{root}
	dirs, seen := []string{it.Path}, map[string]bool{}
	for range rapid.IntRange(0, 12).Draw(t, "members") {
		e := draw(t, File, File, File, Dir, Symlink, Hardlink, Socket, FIFO, Device)
		e.Host, e.Path = host, path.Join(rapid.SampledFrom(dirs).Draw(t, "dir"), name().Draw(t, "name"))
		if seen[e.Path] || len(e.Path) > 3000 {
			continue
		}
		seen[e.Path] = true
		if e.Type == Dir {
			dirs = append(dirs, e.Path)
		}
		it.Entries = append(it.Entries, e)
	}
	// Depth first: what a directory holds follows it without a gap.
	slices.SortFunc(it.Entries, func(a, b Entry) int {
		return strings.Compare(strings.ReplaceAll(a.Path, "/", "\x00"), strings.ReplaceAll(b.Path, "/", "\x00"))
	})
	var files []string
	for i := range it.Entries {
		e := &it.Entries[i]
		if e.Type == Hardlink && len(files) == 0 {
			e.Type = File
		}
		switch e.Type {
		case File:
			files = append(files, e.Path)
			e.Size = rapid.OneOf(rapid.Int64Range(0, maxData), rapid.Just[int64](0), rapid.Int64Range(0, min(maxData, 2000))).Draw(t, "size")
		case Symlink:
			e.Link = rapid.OneOf(name(), rapid.Just("../../x"), rapid.Just("/etc/passwd"), rapid.Just(strings.Repeat("l/", 2000))).Draw(t, "target")
		case Hardlink:
			e.Link = rapid.SampledFrom(files).Draw(t, "first name")
		}
	}
	return it
}

func archive(t *rapid.T, maxData int64) *Archive {
	a := &Archive{
		Pair: pairUUID, Session: sessionUUID, Job: jobUUID,
		Number:     rapid.IntRange(1, 2000).Draw(t, "archive"),
		Record:     rapid.Int64Range(2, 1<<40).Draw(t, "record"),
		RecordSize: rapid.SampledFrom([]int{512, 1024, 1536, 4096, 64 << 10, DefaultRecordSize}).Draw(t, "record size"),
	}
	a.TapeFile = a.Number + rapid.IntRange(0, 5).Draw(t, "tape file")
	for i := range rapid.IntRange(1, 4).Draw(t, "items") {
		a.Items = append(a.Items, item(t, i, maxData))
	}
	return a
}

// outcome gives every file a checksum or a reason, as a run does.
func outcome(t *rapid.T, a *Archive) {
	reasons := rapid.SampledFrom([]string{"", "", "shrank", strings.Repeat(`"`, 1000), strings.Repeat("\xff\n", 400), strings.Repeat("é", 300)})
	for i := range a.Items {
		it := &a.Items[i]
		it.Bad = reasons.Draw(t, "item's reason")
		for j := range it.Entries {
			e := &it.Entries[j]
			if e.Bad = reasons.Draw(t, "reason"); e.Bad == "" && e.Type == File {
				e.MD5 = MD5{byte(i), byte(j), 0xff}
			}
		}
	}
}

// content is the data of a member, told from its path.
func content(e *Entry) []byte {
	b := make([]byte, e.Size)
	for i := range b {
		b[i] = byte(i) ^ byte(len(e.Path)*31)
	}
	return b
}

// build lays the archive out, sets checksums unless bad, and returns its bytes.
func build(t rapid.TB, a *Archive) (Layout, []byte) {
	t.Helper()
	l, err := a.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for e := range a.onTape() {
		if e.Type == File && e.Bad == "" {
			e.MD5 = digest.MD5(content(e))
		}
	}
	var b bytes.Buffer
	for p, err := range a.Pieces() {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Data != nil:
			b.Write(content(p.Data))
		case p.Sums != 0:
			sums := a.SumsText()
			if int64(len(sums)) != p.Sums {
				t.Fatalf("sums have %d bytes, piece says %d", len(sums), p.Sums)
			}
			b.Write(sums)
		default:
			b.Write(p.Literal)
		}
	}
	return l, b.Bytes()
}

// session is the catalog's head for an archive that is the first one of its session.
func session(a *Archive) Session {
	return Session{
		Pair: a.Pair, Session: a.Session, Job: a.Job, Number: 1, RecordSize: a.RecordSize, Record: a.Record,
		Closed: time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC),
	}
}

// encode writes a catalog of archives, the first one of which begins the session.
func encode(t rapid.TB, w io.Writer, s Session, records []int64, archives ...*Archive) (int64, MD5) {
	t.Helper()
	c := NewWriter(w, s)
	for i, a := range archives {
		if err := c.Archive(a, records[i]); err != nil {
			t.Fatal(err)
		}
	}
	size, sum, err := c.Close()
	if err != nil {
		t.Fatal(err)
	}
	return size, sum
}
