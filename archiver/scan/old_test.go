package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/archiver/restore"
	"twintape/archiver/scan"
	"twintape/archiver/twin"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/paperdump/paperdumptest"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

// oldSite is a site with a run of paper-dump's: observations with all kinds of files and hostile names, in three archives.
func oldSite(t *testing.T) (*archivertest.Site, *paperdumptest.Dump) {
	s := archivertest.New(t, 1, 64<<20)
	d := &paperdumptest.Dump{PID: 4711, Hosts: map[string]string{"pot1": s.Data}, Record: 10240, Scratch: s.Dir, Twins: [2]string{"PAPR1001", "PAPR2001"}}
	for n := range 3 {
		var items []string
		for k := range 4 {
			dir := fmt.Sprintf("data/psa%d/zen.24566%d.1669%d.xx.uv", n, n, k)
			if k == 1 {
				s.Fill(dir)
			}
			if k == 2 { // its name does not fit into a tar header
				s.File(filepath.Join(dir, strings.Repeat("long", 50), strings.Repeat("er", 100)), "x")
			}
			s.File(dir+"/visdata", strings.Repeat(fmt.Sprintf("visdata %d %d\n", n, k), 2000+700*k))
			s.File(dir+"/header", "header")
			s.File(dir+"/empty", "")
			s.MkdirAll(dir + "/nothing/here")
			items = append(items, "pot1:/"+dir)
		}
		d.Archives = append(d.Archives, items)
	}
	return s, d
}

// put writes a tape of a dump onto cartridges.
func put(t *testing.T, s *archivertest.Site, records [][]byte, barcode string, unreadable ...int) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.Tapes, barcode+".tap"), paperdumptest.Image(records, unreadable...), 0o644))
}

func recordsOf(t *testing.T, d *paperdumptest.Dump) [][]byte {
	t.Helper()
	records, err := d.Records()
	must(t, err)
	return records
}

// everythingBack restores all and compares it with the sources, but for what a tar of GNU's does not have: fractions of seconds
// and pipes.
func everythingBack(t *testing.T, s *archivertest.Site, only string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "back")
	r, err := restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{"pot1:/**"}, To: to, Tape: only})
	must(t, err)
	if len(r.Failed) > 0 || len(r.Suspect) > 0 {
		t.Fatalf("not restored: %v; suspect %v", r.Failed, r.Suspect)
	}
	list := `cd "$1" && find . -not -type p -printf '%P %y %m %n %U %G %l\n' | grep -v '^data\(/psa[0-9]\)\? d\|^ d' | sort && find . -type f -printf '%P %.10T@\n' | sort && find . -type f -print0 | sort -z | xargs -0 md5sum`
	out := func(dir string) string {
		b, err := exec.Command("bash", "-c", list, "bash", dir).Output()
		must(t, err)
		return string(b)
	}
	same(t, out(filepath.Join(to, "pot1")), out(s.Data))
}

// notes are what was told of tapes.
func notes(all []*scan.Report) string {
	var b strings.Builder
	for _, r := range all {
		for _, n := range append(r.Notes, r.Added.Differences...) {
			b.WriteString(n + "\n")
		}
	}
	return b.String()
}

// What paper-dump wrote comes into the ledger, is verified and comes back, whatever records the tape has.
func TestOld(t *testing.T) {
	for _, short := range []bool{false, true} {
		for _, size := range map[bool][]int{false: {512, 32768, 1 << 20}, true: {10240, 1 << 20}}[short] {
			s, d := oldSite(t)
			d.Record, d.Short = size, short
			records := recordsOf(t, d)
			put(t, s, records, "PAPR1001")
			put(t, s, records, "PAPR2001")
			lose(t, s, "second.db")
			all := scanned(t, s, scan.Options{}, "PAPR*")
			if text := notes(all); text != "" || all[0].Lacking || all[0].Added.Items+all[1].Added.Items != 12 || all[0].Added.Copies != 12 || all[1].Added.Copies != 12 {
				t.Errorf("%+v %+v: %s", all[0].Added, all[1].Added, text)
			}
			for _, r := range scanned(t, s, scan.Options{}, "PAPR1001", "PAPR2001") {
				if n := r.Added; n.Sessions+n.Archives+n.Items+n.Copies > 0 {
					t.Errorf("once more adds %+v", n)
				}
			}
			everythingBack(t, s, "PAPR1001")
			everythingBack(t, s, "PAPR2001")
			states := func(want ...ledger.ItemState) {
				t.Helper()
				for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
					must(t, err)
					if !slices.Contains(want, it.State) {
						t.Errorf("%s is %s, want %s", it.Path, it.State, want)
					}
				}
			}
			states(ledger.Written)
			s.A.Sample = 0.3
			reports, err := s.A.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"})
			must(t, err)
			if reports[0].ItemsRead >= 12 && size < 1<<20 || reports[0].ItemsRead < 3 {
				t.Errorf("the sample is %+v", reports[0])
			}
			states(ledger.Archived, ledger.Deletable)
			s.A.Sample = 1
			_, err = s.A.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"})
			must(t, err)
			states(ledger.Deletable)
			if open, err := s.A.Ledger.OpenPairs(t.Context()); err != nil || len(open) > 0 {
				t.Errorf("the pair is written on: %v, %v", open, err)
			}
			if due, err := s.A.Ledger.DueTapes(t.Context()); err != nil || len(due) != 2 {
				t.Errorf("due are %v, %v", due, err)
			}
		}
	}
}

// find returns the block of the record with a text, the nth such, from 1.
func find(t *testing.T, records [][]byte, text string, nth int) int {
	t.Helper()
	for block, r := range records {
		if bytes.Contains(r, []byte(text)) {
			if nth--; nth == 0 {
				return block
			}
		}
	}
	t.Fatalf("no record has %q", text)
	return 0
}

// copies are the barcodes on which each item has a copy, by the end of its path.
func copies(t *testing.T, s *archivertest.Site) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		var on []string
		for _, c := range it.Copies {
			on = append(on, c.Barcode)
		}
		slices.Sort(on)
		out[it.Path] = strings.Join(on, " ")
	}
	return out
}

// What one tape does not give back is told, and comes from its twin, whichever was scanned first.
func TestOldDamaged(t *testing.T) {
	const item = "/data/psa%d/zen.24566%d.1669%d.xx.uv"
	name := func(n, k int) string { return fmt.Sprintf(item, n, n, k) }
	s, d := oldSite(t)
	d.Record = 2048
	records := recordsOf(t, d)
	// In the midst of data of one item; at the end of another, where the next begins; and data of another on the twin.
	inData := find(t, records, "visdata 0 3\n", 3)
	border := find(t, records, "psa1/zen.245661.16692.xx.uv/", 1)
	onTwin := find(t, records, "visdata 2 3\n", 5)
	for _, order := range [][]string{{"PAPR1001", "PAPR2001"}, {"PAPR2001", "PAPR1001"}} {
		lose(t, s, "damaged"+order[0]+".db")
		put(t, s, records, "PAPR1001", inData, border)
		put(t, s, records, "PAPR2001", onTwin)
		all := reports(t, s, scan.Options{}, order...)
		var first, second *scan.Report
		for _, r := range all {
			must(t, r.Err)
			if r.Barcode == "PAPR1001" {
				first = r
			} else {
				second = r
			}
		}
		for r, want := range map[*scan.Report][]string{
			first: {fmt.Sprintf("record %d cannot be read", inData), fmt.Sprintf("record %d cannot be read", border),
				name(0, 3) + " has no copy on this tape: pot1:" + name(0, 3) + "/visdata cannot be read",
				name(1, 1) + " has no copy on this tape: what lies behind", name(1, 2) + " has no copy on this tape: what lies before"},
			second: {fmt.Sprintf("record %d cannot be read", onTwin), name(2, 3) + " has no copy on this tape"},
		} {
			text := notes([]*scan.Report{r})
			for _, w := range want {
				if !strings.Contains(text, w) || !r.Lacking {
					t.Errorf("%s lacks %v, and does not say %q: %s", r.Barcode, r.Lacking, w, text)
				}
			}
			if n := strings.Count(text, "has no copy"); n != strings.Count(strings.Join(want, ""), "has no copy") {
				t.Errorf("%s: %s", r.Barcode, text)
			}
		}
		want := make(map[string]string)
		for n := range 3 {
			for k := range 4 {
				want[name(n, k)] = "PAPR1001 PAPR2001"
			}
		}
		want[name(0, 3)], want[name(1, 1)], want[name(1, 2)], want[name(2, 3)] = "PAPR2001", "PAPR2001", "PAPR2001", "PAPR1001"
		if got := copies(t, s); !maps.Equal(got, want) {
			t.Errorf("scanned as %v: the copies are %v", order, got)
		}
		everythingBack(t, s, "")
		before := copies(t, s)
		reports(t, s, scan.Options{}, order...)
		if after := copies(t, s); !maps.Equal(before, after) {
			t.Errorf("once more: %v", after)
		}
		// The whole twin makes the other's lacks good.
		put(t, s, records, "PAPR2001")
		reports(t, s, scan.Options{}, "PAPR2001")
		if on := copies(t, s)[name(2, 3)]; on != "PAPR1001 PAPR2001" {
			t.Errorf("%s is on %s", name(2, 3), on)
		}
		everythingBack(t, s, "PAPR2001")
	}
}

// Whatever cannot be read, and whatever bits fell over: what has a copy comes back as it was, or is refused; what has none was told.
func TestOldDamagedAnywhere(t *testing.T) {
	s, d := oldSite(t)
	d.Record = 1024
	records := recordsOf(t, d)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for round := range 12 {
		lose(t, s, fmt.Sprintf("any%d.db", round))
		var told string
		for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
			var unreadable []int
			for range 1 + random.IntN(12) {
				unreadable = append(unreadable, 2+random.IntN(len(records)-2))
			}
			mine := records
			if round%3 == 2 { // torn
				mine = records[:len(records)-1-random.IntN(len(records)/2)]
			}
			if round%4 == 3 {
				mine = slices.Clone(mine)
				for range 3 {
					if block := 2 + random.IntN(len(mine)-2); mine[block] != nil {
						mine[block] = slices.Clone(mine[block])
						mine[block][random.IntN(d.Record)] ^= 1
					}
				}
			}
			put(t, s, mine, barcode, unreadable...)
			all := reports(t, s, scan.Options{}, barcode)
			must(t, all[0].Err)
			told += notes(all)
		}
		on := copies(t, s)
		for _, items := range d.Archives {
			for _, item := range items {
				_, p, _ := strings.Cut(item, ":")
				if on[p] == "" && !strings.Contains(told, item) {
					t.Errorf("of %s nothing is told", item)
				}
			}
		}
		if len(on) == 0 {
			continue
		}
		to := filepath.Join(t.TempDir(), "back")
		r, err := restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{"pot1:/**"}, To: to})
		must(t, err)
		if len(r.Failed) > 0 {
			t.Errorf("unreadable now, and not before: %v", r.Failed)
		}
		for p := range on {
			if round%4 == 3 { // nobody has an MD5 of the rest
				if out, err := exec.Command("cmp", filepath.Join(s.Data, p, "visdata"), filepath.Join(to, "pot1", p, "visdata")).CombinedOutput(); err != nil {
					t.Errorf("round %d: visdata came back otherwise: %s", round, out)
				}
				continue
			}
			out, err := exec.Command("diff", "-r", "--no-dereference", filepath.Join(s.Data, p), filepath.Join(to, "pot1", p)).CombinedOutput()
			if text := string(out); err != nil && strings.Trim(text, "\n") != "Only in "+filepath.Join(s.Data, p)+": fifo" {
				t.Errorf("round %d: %s on %s came back otherwise: %s; told was %s", round, p, on[p], text, told)
			}
		}
	}
}

// Each way in which catalog and archives do not fit is told, and everything else taken in.
func TestOldLacking(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(d *paperdumptest.Dump)
		after  func(records [][]byte) [][]byte
		items  int
		told   []string
	}{
		{"md5", func(d *paperdumptest.Dump) { d.MD5s = map[string]string{d.Archives[1][2]: strings.Repeat("ab", 16)} }, nil, 11,
			[]string{"16692.xx.uv has no copy on this tape: the md5 of its visdata is ", "the catalog says abababab"}},
		{"catalog only", func(d *paperdumptest.Dump) { d.Missing = []string{"pot1:/data/gone.uv"} }, nil, 12,
			[]string{"pot1:/data/gone.uv is in the catalog, in archive 0, and was not found on the tape"}},
		{"archive only", func(d *paperdumptest.Dump) { d.Unlisted = []string{d.Archives[2][1]} }, nil, 12,
			[]string{"holds pot1:/data/psa2/zen.245662.16691.xx.uv, which the catalog does not name"}},
		{"torn", nil, func(r [][]byte) [][]byte { return r[:len(r)-6] }, 11,
			[]string{"archive 2 in tape file 3 is torn: the tape ends inside it", "16693.xx.uv/visdata is cut off"}},
		{"torn before", nil, func(r [][]byte) [][]byte { return r[:2] }, -1, []string{"16693.xx.uv is in the catalog, in archive 2, and was not found"}},
		{"inner tar cut", func(d *paperdumptest.Dump) { d.Cut = map[int]int64{0: 60000} }, nil, 9,
			[]string{"archive 0 in tape file 1 ends before its time", "is in the catalog, in archive 0, and was not found"}},
		{"hostile", func(d *paperdumptest.Dump) {
			d.Names = map[int]string{1: `s,pot1:\(.*\)/header$,pot1:/../../../etc/\1,;s,paper.4711.1/pot1:/.*/empty$,/etc/passwd,`}
		}, nil, 12, []string{`"paper.4711.1/pot1:/../../../etc//data/psa1`, `"/etc/passwd": its name is no plain path of a host`}},
		{"uneven", nil, func(r [][]byte) [][]byte {
			i := 4
			return slices.Concat(r[:i], [][]byte{r[i][:512], r[i][512:]}, r[i+1:])
		}, 8, []string{"archive 0 in tape file 1 is left out: its records have different lengths, which nobody can count with, from record 4 on"}},
		{"other blocking", nil, func(r [][]byte) [][]byte {
			last := len(r) - 2
			for r[last-1] != nil {
				last--
			}
			out := slices.Clone(r[:last])
			for part := range slices.Chunk(slices.Concat(r[last:]...), 20480) {
				out = append(out, part)
			}
			return append(out, nil)
		}, 8, []string{"tape file 3 has records of 20480 bytes, those before it of 10240: it is left out"}},
		{"another run", nil, func(r [][]byte) [][]byte {
			for i := range r {
				r[i] = bytes.ReplaceAll(r[i], []byte("## Paper dump catalog:4711"), []byte("## Paper dump catalog:4712"))
			}
			return r
		}, -1, []string{"is of run 4711, the catalog of run 4712: it is left out"}},
		{"not an archive", nil, func(r [][]byte) [][]byte { return slices.Concat(r[:2], [][]byte{[]byte("hello"), nil}, r[2:]) }, 12,
			[]string{"tape file 1 is left out: no archive of paper-dump's is in it that can be read; it holds something else"}},
		{"sparse", func(d *paperdumptest.Dump) {
			d.Sparse = true
			_, p, _ := strings.Cut(d.Archives[0][0], ":")
			name := filepath.Join(d.Hosts["pot1"], p, "visdata")
			must(t, os.Truncate(name, 0))
			must(t, os.Truncate(name, 1<<20))
		}, nil, 11, []string{"16690.xx.uv has no copy on this tape: pot1:/data/psa0/zen.245660.16690.xx.uv/visdata is not taken in: it is stored as a sparse file"}},
		{"much unreadable", func(d *paperdumptest.Dump) { d.Record = 1024 }, nil, 8, []string{"is torn: more than 20 records cannot be read"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s, d := oldSite(t)
			if c.change != nil {
				c.change(d)
			}
			records := recordsOf(t, d)
			if c.after != nil {
				records = c.after(records)
			}
			var unreadable []int
			if c.what == "much unreadable" {
				from := find(t, records, "visdata 1 0", 3)
				for i := range 25 {
					unreadable = append(unreadable, from+i)
				}
			}
			put(t, s, records, "PAPR2001", unreadable...)
			lose(t, s, "second.db")
			r := reports(t, s, scan.Options{}, "PAPR2001")[0]
			text := notes([]*scan.Report{r})
			if c.items < 0 {
				if r.Err == nil || !strings.Contains(r.Err.Error(), "no archive on it can be read: it is not taken in") || !strings.Contains(text, c.told[0]) {
					t.Errorf("%v: %s", r.Err, text)
				}
				return
			}
			if r.Err != nil || r.Added.Items != c.items || r.Lacking == (c.what == "archive only") {
				t.Errorf("%+v %v: %s", r.Added, r.Err, text)
			}
			for _, want := range c.told {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q: %s", want, text)
				}
			}
			if c.items > 0 {
				to := filepath.Join(t.TempDir(), "back")
				got, err := restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{"pot1:/**"}, To: to})
				if err != nil || len(got.Failed) > 0 {
					t.Errorf("restored: %+v, %v", got, err)
				}
			}
			if _, err := s.A.VerifyTapes(t.Context(), []string{"PAPR2001"}); (err != nil) != slices.Contains([]string{"torn", "much unreadable"}, c.what) {
				t.Errorf("verified: %v", err)
			}
		})
	}
}

// A catalog that did not fit into its record names some items; the archives tell of the others.
func TestOldTruncated(t *testing.T) {
	s := archivertest.New(t, 1, 64<<20)
	d := &paperdumptest.Dump{PID: 12, Hosts: map[string]string{"pot1": s.Data}, Record: 20480, Scratch: s.Dir}
	for n := range 2 {
		var items []string
		for k := range 250 {
			dir := fmt.Sprintf("data/psa%d/zen.2456620.%05d.xx.uv", n, k)
			s.File(dir+"/visdata", dir)
			s.File(dir+"/history", "none")
			items = append(items, "pot1:/"+dir)
		}
		d.Archives = append(d.Archives, items)
	}
	s.File("data/psa1/notes/readme", "no observation")
	d.Archives[1] = append(d.Archives[1], "pot1:/data/psa1/notes")
	d.MD5s = map[string]string{"pot1:/data/psa1/notes": strings.Repeat("0", 31) + "1"}
	records := recordsOf(t, d)
	if records[0][32<<10-1] == 0 {
		t.Fatal("the catalog is not truncated")
	}
	put(t, s, records, "PAPR1001")
	put(t, s, records, "PAPR2001")
	lose(t, s, "second.db")
	all := scanned(t, s, scan.Options{}, "PAPR1001", "PAPR2001")
	for _, r := range all {
		if text := notes([]*scan.Report{r}); !strings.HasPrefix(text, "its catalog is truncated after 3") || strings.Count(text, "\n") != 1 || r.Lacking {
			t.Errorf("%s", text)
		}
	}
	on := copies(t, s)
	if len(on) != 501 || on["/data/psa1/notes/readme"] != "PAPR1001 PAPR2001" || on["/data/psa1/zen.2456620.00249.xx.uv"] != "PAPR1001 PAPR2001" {
		t.Errorf("%d items: %v", len(on), on)
	}
	everythingBack(t, s, "PAPR2001")
}

// A scan that is killed, or whose drive fails, leaves nothing; the next one brings everything.
func TestOldCutOff(t *testing.T) {
	s, d := oldSite(t)
	put(t, s, recordsOf(t, d), "PAPR1001")
	lose(t, s, "second.db")
	lib := s.A.Library
	ctx, kill := context.WithCancel(t.Context())
	for _, f := range []fault.Fault{{Op: fault.ReadRecord, Block: 40, Err: tape.Sense(4, 0x44, 0)}, {Op: fault.ReadRecord, Block: 40, Do: kill}} {
		s.A.Library = fault.New(t, f).Library(lib)
		err := scan.Tapes(ctx, s.A, []string{"PAPR1001"}, scan.Options{}, func(r *scan.Report) {
			if r.Err == nil {
				t.Errorf("%+v", r)
			}
		})
		if on := copies(t, s); len(on) != 0 || (err != nil) != (ctx.Err() != nil) {
			t.Errorf("taken in are %v, %v", on, err)
		}
	}
	s.A.Library = fault.New(t, fault.Fault{Op: fault.ReadRecord, Block: 40, Err: tape.Sense(3, 0x11, 0)}).Library(lib) // the second attempt reads it
	if text := notes(scanned(t, s, scan.Options{}, "PAPR1001")); text != "" || len(copies(t, s)) != 12 {
		t.Errorf("%s: %v", text, copies(t, s))
	}
}

// What was archived since is newer than what an old tape has, whenever that is scanned; and an old tape is neither written on,
// nor copied, nor overwritten.
func TestOldIsOld(t *testing.T) {
	s, d := oldSite(t)
	dir := "/data/psa0/zen.245660.16690.xx.uv"
	old, err := os.ReadFile(filepath.Join(s.Data, dir, "visdata"))
	must(t, err)
	records := recordsOf(t, d)
	s.File(dir[1:]+"/visdata", "calibrated anew")
	s.Archive("pot1:" + dir)
	lib, ok := s.A.Library.(*virtual.Library)
	if !ok {
		t.Fatal("no virtual library")
	}
	for _, barcode := range []string{"PAPR1002", "PAPR2002"} {
		must(t, lib.AddCartridge(barcode, 64<<20))
		put(t, s, records, barcode)
	}
	scanned(t, s, scan.Options{}, "PAPR1002", "PAPR2002")
	e, err := s.A.Ledger.Browse(t.Context(), "", "pot1", dir+"/visdata")
	if err != nil || e.Size != 15 {
		t.Errorf("the latest is %+v, %v", e, err)
	}
	list, err := s.A.Ledger.BrowseDir(t.Context(), "", "pot1", filepath.Dir(dir))
	if err != nil || len(list) != 4 || list[0].Item != e.Item {
		t.Errorf("in its directory is %+v, %v", list, err)
	}
	if e, err = s.A.Ledger.Browse(t.Context(), "PAPR1002", "pot1", dir+"/visdata"); err != nil || e.Size != int64(len(old)) {
		t.Errorf("on the old tape is %+v, %v", e, err)
	}
	to := filepath.Join(t.TempDir(), "back")
	_, err = restore.Restore(t.Context(), s.A, restore.Options{Patterns: []string{"pot1:" + dir}, To: to})
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(to, "pot1", dir, "visdata")); err != nil || string(got) != "calibrated anew" {
		t.Errorf("restored is %q, %v", got, err)
	}

	if _, err := twin.Copy(t.Context(), s.A, "PAPR1002", "PAPR2003", twin.Options{}); err == nil || !strings.Contains(err.Error(), "paper-dump wrote tape PAPR1002") {
		t.Errorf("copied: %v", err)
	}
	if _, err := s.A.Contents(t.Context(), "PAPR1002", true); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("overwritten: %v", err)
	}
	s.File("new/visdata", "new")
	s.Archive("pot1:/new")
	if on := copies(t, s)["/new"]; on != "PAPR1001 PAPR2001" {
		t.Errorf("written on are %s", on)
	}
	// Given up, it is still not overwritten without being asked for.
	for _, barcode := range []string{"PAPR1002", "PAPR2002"} {
		_, err = s.A.Ledger.Recycle(t.Context(), barcode, "somebody")
		must(t, err)
	}
	tp, err := s.A.Ledger.Tape(t.Context(), "PAPR1001")
	must(t, err)
	must(t, s.A.Ledger.SetFull(t.Context(), tp.Pair))
	s.File("newer/visdata", "newer")
	_, err = s.A.QueueAdd(t.Context(), []string{"pot1:/newer"}, nil, archiver.QueueOptions{})
	must(t, err)
	owner, err := archiver.ThisProcess()
	must(t, err)
	var foreign *archiver.ForeignError
	if _, err := s.A.Run(t.Context(), owner, nil); !errors.As(err, &foreign) || !strings.Contains(err.Error(), "a volume of paper-dump") {
		t.Errorf("a job says %v", err)
	}
}

// A tape that does not give back any more what it did is told so, by verify and by restore, and the twin has it.
func TestOldRots(t *testing.T) {
	for _, sample := range []float64{0.1, 1} {
		s, d := oldSite(t)
		d.Record = 2048
		records := recordsOf(t, d)
		put(t, s, records, "PAPR1001")
		put(t, s, records, "PAPR2001")
		lose(t, s, "second.db")
		scanned(t, s, scan.Options{}, "PAPR1001", "PAPR2001")
		spoil(t, s, "PAPR1001", "visdata 1 ") // in each item of an archive
		s.A.Sample = sample
		var mismatch *archiver.MismatchError
		reports, err := s.A.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"})
		if !errors.As(err, &mismatch) || !slices.Equal(mismatch.Barcodes, []string{"PAPR1001"}) || !strings.Contains(fmt.Sprint(reports[0].Mismatches), "md5 of the member's data differs") {
			t.Errorf("%v: %+v", err, reports[0].Mismatches)
		}
		everythingBack(t, s, "")
		for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
			must(t, err)
			if it.State != ledger.Written {
				t.Errorf("%s is %s", it.Path, it.State)
			}
		}
		// Another tape in its place.
		put(t, s, append([][]byte{bytes.Replace(records[0], []byte("4711"), []byte("4712"), 1)}, records[1:]...), "PAPR2001")
		if reports, err = s.A.VerifyTapes(t.Context(), []string{"PAPR2001"}); err == nil || !strings.Contains(fmt.Sprint(reports[0].Mismatches), "with another catalog") {
			t.Errorf("another tape: %v", err)
		}
	}
}
