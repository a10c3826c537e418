package vtl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a control file under the test's hand.
type script struct {
	t    *testing.T
	path string
}

func newScript(t *testing.T) *script {
	return &script{t: t, path: filepath.Join(t.TempDir(), "control")}
}

// say replaces the file. The new one has another time than the old one, however coarse the clock.
func (s *script) say(lines ...string) {
	s.t.Helper()
	before, statErr := os.Stat(s.path)
	next := s.path + ".new"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if statErr == nil {
		when := before.ModTime().Add(time.Second)
		if err := os.Chtimes(next, when, when); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Rename(next, s.path); err != nil {
		s.t.Fatal(err)
	}
}

// Faults come at the command that they are scripted for, and lines that stay keep their count.
func TestFaults(t *testing.T) {
	s := newScript(t)
	b := newBench(t, t, t.TempDir(), s.path).ready(t)
	defer b.close()
	s.say("fail drive0 write 2 3/0C/00 # the second", "fail drive1 any * 2/04/01")
	b.write(t, drive0, "good", content(10))
	s.say("", "fail   drive0 0A 3 4/44/00", "fail drive0 write 2 3/0C/00")
	b.write(t, drive0, "3/0C/00", content(10))
	b.at(t, drive0, 1, 0)
	b.write(t, drive0, "good", content(10))
	b.write(t, drive0, "4/44/00", content(10))
	b.write(t, drive0, "good", content(10))
	b.at(t, drive0, 3, 0)

	s.say("fail drive0 read 1 3/11/00")
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	b.read(t, drive0, "3/11/00", 0, 10, 10)
	s.say("fail drive0 read 1 3/11/00", "offline", "clean drive0", "alert drive1 3")
	b.read(t, drive0, "1/00/17", 0, 10, 10)
	b.read(t, drive0, "good", 0, 10, 10)
	b.move(t, "2/04/12", slotAddress+1, driveAddress+1)
	b.ask(t, changer, "good", 96, opInquiry, 0, 0, 0, 96, 0)
	for unit, flag := range map[int]int{drive0: cleanNow, drive1: 3} {
		for _, want := range []byte{1, 0} { // reading clears it
			p := b.ask(t, unit, "good", 1000, opLogSense, 0, 0x2E, 0, 0, 0, 0, 3, 0xE8, 0)
			if len(p) != 4+5*tapeAlertFlags || p[4+5*(flag-1)+4] != want {
				t.Errorf("flag %d of unit %d is not %d", flag, unit, want)
			}
		}
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	b.move(t, "good", slotAddress+1, driveAddress+1)
}

// A reset takes what was not flushed, and the place; it is told once, or not at all.
func TestReset(t *testing.T) {
	s := newScript(t)
	b := newBench(t, t, t.TempDir(), s.path).ready(t)
	defer b.close()
	for _, c := range []struct{ verb, told string }{{"reset", "6/29/00"}, {"lose", "good"}} {
		b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
		b.write(t, drive0, "good", content(10))
		b.write(t, drive0, "good", content(20))
		b.marks(t, drive0, "good", 0, 0)
		b.write(t, drive0, "good", content(30))
		b.selectBlock(t, "good", 512)
		s.say(c.verb + " drive0 ready 1")
		b.ask(t, drive0, c.told, 0, opTestUnitReady, 0, 0, 0, 0, 0)
		b.at(t, drive0, 0, 0)
		b.read(t, drive0, "5/24/00", 1, 1, 512)
		b.read(t, drive0, "good", 0, 10, 10)
		b.read(t, drive0, "good", 0, 20, 20)
		b.read(t, drive0, "8/00/05 left 30", 0, 30, 30)
		if left := b.units[drive0].(*Drive).remaining(); left != testCapacity-testCapacity/64-(10+8)-(20+8) {
			t.Errorf("%d bytes remain", left)
		}
		s.say()
	}
}

// The tape is damaged where the file says, and nowhere else.
func TestDamage(t *testing.T) {
	s := newScript(t)
	b := newBench(t, t, t.TempDir(), s.path).ready(t)
	defer b.close()
	s.say("early A1 2", "end A1 4", "early A2 0")
	b.write(t, drive0, "good", content(100))
	b.write(t, drive0, "good", content(100))
	b.write(t, drive0, "0/00/02 eom left 0", content(100))
	b.marks(t, drive0, "0/00/02 eom left 0", 1, 1)
	b.write(t, drive0, "D/00/02 eom left 100", content(100))
	b.marks(t, drive0, "D/00/02 eom left 1", 1, 1)
	s.say("rot A1 1 7", "unreadable A1 2", "rot A2 0 0", "rot A1 0 100")
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	if p := b.read(t, drive0, "good", 0, 100, 100); string(p) != string(content(100)) {
		t.Error("the first record is rotten")
	}
	p, want := b.read(t, drive0, "good", 0, 100, 100), content(100)
	if want[7] ^= 1; string(p) != string(want) {
		t.Error("the second record is not rotten at its byte 7")
	}
	b.read(t, drive0, "3/11/00 left 100", 0, 100, 100)
	b.read(t, drive0, "0/00/01 filemark left 100", 0, 100, 100)
}

// A command hangs until its line is gone, or the context ends.
func TestHang(t *testing.T) {
	s := newScript(t)
	b := newBench(t, t, t.TempDir(), s.path).ready(t)
	defer b.close()
	s.say("hang drive0 ready 1")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	b.units[drive0].Execute(ctx, []byte{opTestUnitReady}, nil)
	if ctx.Err() == nil {
		t.Error("it did not hang")
	}
	b.ask(t, drive0, "good", 0, opTestUnitReady, 0, 0, 0, 0, 0) // the second
	s.say("hang drive0 ready *")
	done := make(chan Answer)
	go func() { done <- b.units[drive0].Execute(t.Context(), []byte{opTestUnitReady}, nil) }()
	b.ask(t, drive1, "2/3A/00", 0, opTestUnitReady, 0, 0, 0, 0, 0) // the twin goes on
	s.say()
	if a := <-done; a.Status != Good {
		t.Errorf("after it hung it answers %+v", a)
	}
}

// What is wrong with a control file is told with its line, and changes nothing.
func TestControlMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"explode drive0":                 `"explode" is no fault`,
		"fail drive0 write 1":            "there must be 4 words: UNIT COMMAND NTH SENSE",
		"offline now":                    "there must be 0 words",
		"fail drive write 1 3/0C/00":     `"drive" is no unit`,
		"fail drive-1 write 1 3/0C/00":   `"drive-1" is no unit`,
		"fail tape write 1 3/0C/00":      `"tape" is no unit`,
		"fail drive0 sing 1 3/0C/00":     `"sing" is no command`,
		"fail drive0 0ab 1 3/0C/00":      `"0ab" is no command`,
		"fail drive0 write 0 3/0C/00":    `"0" is no count`,
		"fail drive0 write 1 3/0C":       `"3/0C" is no sense`,
		"fail drive0 write 1 3/0C/00/00": "is no sense",
		"fail drive0 write 1 10/0C/00":   "is no sense",
		"alert drive0 65":                `"65" is no TapeAlert flag`,
		"rot A1 -1 0":                    `"-1" is no block`,
		"rot A1 0 -1":                    `"-1" is no byte`,
	} {
		if _, err := parseControl(strings.NewReader("\n# nothing\noffline\n" + line)); err == nil || !strings.Contains(err.Error(), "line 4: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	s := newScript(t)
	var told []error
	c := NewControl(s.path, func(err error) { told = append(told, err) })
	s.say("fail drive0 ready * 2/04/01")
	s.say("fail drive0 ready * 2/04/01")
	if a := c.act(t.Context(), "drive0", opTestUnitReady); a.sense == nil || len(told) != 0 {
		t.Errorf("it does %+v, told are %v", a, told)
	}
	s.say("nonsense")
	for range 2 {
		if a := c.act(t.Context(), "drive0", opTestUnitReady); a.sense == nil {
			t.Errorf("after a mistake it does %+v", a)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0].Error(), s.path+": line 1: ") {
		t.Errorf("told are %v", told)
	}
	if err := errors.Join(os.Remove(s.path), os.Mkdir(s.path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if c.act(t.Context(), "drive0", opTestUnitReady); len(told) != 2 {
		t.Errorf("of a folder as control file are told %v", told)
	}
}

// What is read as a fault is read again as the same.
func FuzzControl(f *testing.F) {
	for verb, form := range verbs {
		line := verb
		for _, field := range strings.Fields(form) {
			line += " " + map[string]string{"UNIT": "drive0", "COMMAND": "write", "NTH": "*", "SENSE": "3/0C/00", "FLAG": "3", "BARCODE": "A1", "BLOCK": "7", "BYTE": "9"}[field]
		}
		f.Add(line + " # so\n\noffline")
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseControl(strings.NewReader(text))
		if err != nil {
			return
		}
		var lines []string
		for _, r := range rules {
			lines = append(lines, r.text)
			if r.unit == "" && r.barcode == "" && r.verb != "offline" {
				t.Fatalf("%q concerns nothing", r.text)
			}
		}
		again, err := parseControl(strings.NewReader(strings.Join(lines, "\n")))
		if err != nil || len(again) != len(rules) {
			t.Fatalf("%q is read again as %d rules, %v", lines, len(again), err)
		}
	})
}
