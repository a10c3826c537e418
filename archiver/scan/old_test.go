package scan_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"twintape/archiver/archivertest"
	"twintape/archiver/restore"
	"twintape/archiver/scan"
	"twintape/internal/ledger"
	"twintape/internal/paperdump/paperdumptest"
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
		for _, size := range []int{512, 10240, 32768, 1 << 20} {
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
