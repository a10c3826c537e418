package paperdump_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"twintape/internal/catalog"
	"twintape/internal/paperdump"
	"twintape/internal/paperdump/paperdumptest"
)

const head = "## Paper dump catalog:4711 (version: 4.0 on 20140102-0304)\n## a\n## b\n"

func pad(text string, size int) []byte { return append([]byte(text), make([]byte, size-len(text))...) }

func TestCatalog(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 2)
	c, err := paperdump.ParseCatalog(pad(head+"0:20:3:"+sum+":pot1:/data/a:b.uv\n1:4.0[PAPR1001,PAPR2001]-3:1:3:"+sum+":pot2:/b/\n", 32<<10))
	if err != nil {
		t.Fatal(err)
	}
	if c.PID != "4711" || c.Version != "4.0" || c.Made.Format("2006-01-02T15:04") != "2014-01-02T03:04" || c.Cut != "" || len(c.Odd) > 0 {
		t.Errorf("it is %+v", c)
	}
	want := []paperdump.Item{
		{Archive: 3, Host: "pot1", Path: "/data/a:b.uv", MD5: mustMD5(t, sum), Place: "20"},
		{Archive: 3, Host: "pot2", Path: "/b", MD5: mustMD5(t, sum), Place: "4.0[PAPR1001,PAPR2001]-3:1"},
	}
	if fmt.Sprint(c.Items) != fmt.Sprint(want) {
		t.Errorf("its items are %+v", c.Items)
	}
	if c.Twin("PAPR1001") != "PAPR2001" || c.Twin("PAPR2001") != "PAPR1001" || c.Twin("PAPR1002") != "" {
		t.Error("the twins are not known")
	}
	other, err := paperdump.ParseCatalog(pad(string(c.Text), 10<<10))
	if err != nil || other.Pair() != c.Pair() || other.Tape("A") == c.Tape("B") || other.Session() == c.Job() {
		t.Errorf("the same catalog is of pair %s, then of %s, %v", c.Pair(), other.Pair(), err)
	}
}

func mustMD5(t *testing.T, s string) catalog.MD5 {
	sum, err := catalog.ParseMD5(s)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// A catalog that cannot name everything is known for that.
func TestCutCatalog(t *testing.T) {
	lines := head
	for i := 0; len(lines) < 40<<10; i++ {
		lines += fmt.Sprintf("%d:1:0:%032x:pot1:/data/%d\n", i, i+1, i)
	}
	n := func(text string) int { return strings.Count(text, "\n") - 3 }
	for what, c := range map[string]struct {
		record []byte
		items  int
		cut    bool
	}{
		"whole":                 {pad(lines[:strings.LastIndexByte(lines[:20<<10], '\n')+1], 32<<10), n(lines[:20<<10]), false},
		"without a last end":    {pad(lines[:strings.LastIndexByte(lines[:20<<10], '\n')], 32<<10), n(lines[:20<<10]), false},
		"full":                  {[]byte(lines[:32<<10]), n(lines[:32<<10]), true},
		"full to the last line": {[]byte(lines[:strings.LastIndexByte(lines[:32<<10], '\n')+1]), n(lines[:32<<10]), true},
		"larger":                {[]byte(lines), n(lines), true},
		"counted":               {pad(strings.Replace(lines[:len(head)+60], "## b", "## 12 files in 3 archives", 1), 32<<10), 1, true},
	} {
		got, err := paperdump.ParseCatalog(c.record)
		if err != nil || len(got.Items) != c.items || (got.Cut != "") != c.cut {
			t.Errorf("%s: %d items, want %d; cut %q, %v", what, len(got.Items), c.items, got.Cut, err)
		}
	}
}

func TestNoCatalog(t *testing.T) {
	for _, text := range []string{"", "x", "## Paper dump catalog:", "## Paper dump catalog:x (version: 1 on 20140102-0304)\n", "## Paper dump catalog:1\n"} {
		if _, err := paperdump.ParseCatalog(pad(text, 32<<10)); !errors.Is(err, paperdump.ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, err := paperdump.ParseCatalog(pad(head+"0:1:0:"+strings.Repeat("a", 32)+":pot1:/../etc\n0:1:0:"+strings.Repeat("a", 32)+":..:/etc\nhello\n", 32<<10))
	if err != nil || len(c.Items) != 0 || len(c.Odd) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzCatalog: what is taken for an item may be trusted, and is what a line says that is written of it.
func FuzzCatalog(f *testing.F) {
	f.Add(pad(head+"0:20:3:"+strings.Repeat("a", 32)+":pot1:/data/a:b.uv\n", 1024))
	f.Add([]byte(head + "0:4.0[A,B]-1:2:1:None:pot1:/x/\n## items: 7\nodd"))
	f.Fuzz(func(t *testing.T, record []byte) {
		c, err := paperdump.ParseCatalog(record)
		if err != nil {
			if !errors.Is(err, paperdump.ErrFormat) {
				t.Error(err)
			}
			return
		}
		text := fmt.Sprintf("## Paper dump catalog:%s (version: x on 20140102-0304)\n", c.PID)
		for i, it := range c.Items {
			if catalog.CheckName(it.Host, it.Path) != nil {
				t.Errorf("%+v", it)
			}
			text += fmt.Sprintf("%d:%s:%d:%s:%s:%s\n", i, it.Place, it.Archive, it.MD5, it.Host, it.Path)
		}
		again, err := paperdump.ParseCatalog(append([]byte(text), 0))
		if err != nil || again.Cut == "" && fmt.Sprint(again.Items) != fmt.Sprint(c.Items) {
			t.Errorf("%v: %+v is read as %+v", err, c.Items, again.Items)
		}
	})
}

// dump makes one archive with tar.
func dump(t testing.TB, d *paperdumptest.Dump) []byte {
	dir := t.TempDir()
	d.PID, d.Record, d.Short, d.Scratch, d.Hosts = 7, 1<<20, true, dir, map[string]string{"pot1": dir}
	for name, text := range map[string]string{"zen.uv/visdata": strings.Repeat("visdata", 300), "zen.uv/header": "h", strings.Repeat("zen.uv/long", 20): ""} {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d.Archives = [][]string{{"pot1:/zen.uv"}}
	records, err := d.Records()
	if err != nil {
		t.Fatal(err)
	}
	return records[2]
}

func TestArchive(t *testing.T) {
	file := dump(t, &paperdumptest.Dump{})
	a, err := paperdump.ReadArchive(bytes.NewReader(file))
	if err != nil || a.PID != "7" || a.Number != 0 || !a.Whole() || len(a.Gaps)+len(a.Refused) > 0 || a.Length != int64(len(file)) {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, m := range a.Members {
		e, n, err := paperdump.ParseHeader(file[m.At:])
		if m.Header != n || err != nil || e.Path != m.Path || e.Size != m.Size || !e.MTime.Equal(m.MTime) {
			t.Errorf("%+v: alone its header is %+v, %v", m, e, err)
		}
		if m.Path == "/zen.uv/visdata" && string(file[m.At+int64(n):][:m.Size]) != strings.Repeat("visdata", 300) {
			t.Errorf("%+v does not lie where it says", m)
		}
	}
	// Cut off anywhere, it is not whole, and what is not cut is the same.
	for cut := 0; cut < int(a.End)+1024; cut += 256 {
		b, err := paperdump.ReadArchive(io.MultiReader(bytes.NewReader(file[:cut]), iotest.ErrReader(io.ErrNoProgress)))
		if b.Whole() || !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("cut after %d bytes it is %+v, %v", cut, b, err)
		}
		for i, m := range b.Members {
			if !m.Cut && fmt.Sprint(m) != fmt.Sprint(a.Members[i]) || m.Cut && i != len(b.Members)-1 {
				t.Errorf("cut after %d bytes: %+v", cut, m)
			}
		}
	}
}

// FuzzArchive: whatever stands in a tape file, members have plain names, and lie one behind the other inside it.
func FuzzArchive(f *testing.F) {
	file := dump(f, &paperdumptest.Dump{})
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add(holed(file))
	f.Add(dump(f, &paperdumptest.Dump{Cut: map[int]int64{0: 5000}}))
	f.Add(dump(f, &paperdumptest.Dump{Names: map[int]string{0: `s,pot1:/zen.uv,/etc/../pot1:,`}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := paperdump.ReadArchive(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(0)
		for _, m := range a.Members {
			if m.Why != "" {
				if err := catalog.CheckName(m.Host, m.Path); err != nil {
					t.Error(err)
				}
				continue
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
			r := m.Range()
			if m.At < at || !m.Cut && m.At+int64(m.Header)+m.Size > int64(len(file)) {
				t.Errorf("%+v of %d bytes, behind %d", m, len(file), at)
			}
			if at = r.To; m.Cut {
				at = m.At + int64(m.Header)
			}
			if e, n, err := paperdump.ParseHeader(file[m.At:]); err != nil || n != m.Header || e.Path != m.Path || e.Host != m.Host {
				t.Errorf("alone its header is %+v, %v", e, err)
			}
		}
		for _, g := range a.Gaps {
			if g.From >= g.To || g.To > int64(len(file)) {
				t.Errorf("a gap is %+v of %d", g, len(file))
			}
		}
	})
}

// holed is a file whose middle was lost.
func holed(file []byte) []byte {
	file = bytes.Clone(file)
	clear(file[len(file)/4 : len(file)/3])
	return file
}
