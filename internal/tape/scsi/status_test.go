package scsi

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/tape"
)

var update = flag.Bool("update", false, "write what is read as what is wanted")

func show(elements []tape.Element) string {
	var b strings.Builder
	for _, e := range elements {
		fmt.Fprintf(&b, "%s %d full=%v barcode=%q from=%d\n", e.Kind, e.Number, e.Full, e.Barcode, e.From)
	}
	return b.String()
}

// The spellings of libraries and versions of mtx, collected from what their users published.
func TestStatus(t *testing.T) {
	files, err := filepath.Glob("testdata/status/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		elements, err := parseStatus(string(text))
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		wanted := strings.TrimSuffix(f, ".txt") + ".want"
		if *update {
			if err := os.WriteFile(wanted, []byte(show(elements)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(elements); got != string(want) {
			t.Errorf("%s: got\n%swant\n%s", f, got, want)
		}
	}
}

func TestStatusRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "lists no data transfer element",
		"mtx: Request Sense: Sense Key=Not Ready\n":                         "lists no data transfer element",
		"Data Transfer Element 0:Empty\nData Transfer Element 0:Empty\n":    "drive 0 is listed twice",
		"Data Transfer Element 70000:Empty\n":                               "SMC has no such number",
		"Data Transfer Element 0:Full (Storage Element 70000 Loaded)\n":     "SMC has no such number",
		"Data Transfer Element 99999999999999999999:Empty\n":                "SMC has no such number",
		"Data Transfer Element 0:Empty\nStorage Element 70000:Full \n":      "SMC has no such number",
		"Storage Element 1:Full :VolumeTag=A\nStorage Element 2:Empty\n":    "lists no data transfer element",
		"Data Transfer Element 0:Half\nStorage Element 2 IMPORT/EXPORT:-\n": "lists no data transfer element",
	} {
		if _, err := parseStatus(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// written is the text that mtx 1.3.12 prints for elements.
func written(elements []tape.Element) string {
	var drives, slots strings.Builder
	for _, e := range elements {
		switch {
		case e.Kind == tape.Transfer && !e.Full:
			fmt.Fprintf(&drives, "Data Transfer Element %d:Empty\n", e.Number)
		case e.Kind == tape.Transfer:
			from := "Unknown Storage Element"
			if e.From > 0 {
				from = fmt.Sprintf("Storage Element %d", e.From)
			}
			fmt.Fprintf(&drives, "Data Transfer Element %d:Full (%s Loaded)", e.Number, from)
			if e.Barcode != "" {
				fmt.Fprintf(&drives, ":VolumeTag = %-32s", e.Barcode)
			}
			drives.WriteString("\n")
		default:
			kind, full := "", "Empty"
			if e.Kind == tape.ImportExport {
				kind = " IMPORT/EXPORT"
			}
			if e.Full {
				full = "Full "
			}
			fmt.Fprintf(&slots, "      Storage Element %d%s:%s", e.Number, kind, full)
			if e.Barcode != "" {
				fmt.Fprintf(&slots, ":VolumeTag=%-32s", e.Barcode)
			}
			slots.WriteString("\n")
		}
	}
	return "  Storage Changer /dev/sg3:\n" + drives.String() + slots.String()
}

func FuzzStatus(f *testing.F) {
	files, _ := filepath.Glob("testdata/status/*.txt")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		elements, err := parseStatus(text)
		if err != nil {
			return
		}
		again, err := parseStatus(written(elements))
		if err != nil || show(again) != show(elements) {
			t.Errorf("read %s, written and read again %s, %v", show(elements), show(again), err)
		}
	})
}

func TestStripMedia(t *testing.T) {
	for barcode, want := range map[string]string{
		"PAPR1001L5": "PAPR1001", "PAPR1001": "PAPR1001", "PAPR1001M8": "PAPR1001", "PAPR1001LV": "PAPR1001", "CLN001CU": "CLN001",
		"": "", "L5": "L5", "PAPR1001L0": "PAPR1001L0",
	} {
		if got := stripMedia(barcode); got != want {
			t.Errorf("%s becomes %s, want %s", barcode, got, want)
		}
	}
}

// What mtx prints on stderr when a library is offline, and when it has news.
const offline = `mtx: Request Sense: Long Report=yes
mtx: Request Sense: Valid Residual=no
mtx: Request Sense: Error Code=70 (Current)
mtx: Request Sense: Sense Key=Not Ready
mtx: Request Sense: FileMark=no
mtx: Request Sense: EOM=no
mtx: Request Sense: ILI=no
mtx: Request Sense: Additional Sense Code = 04
mtx: Request Sense: Additional Sense Qualifier = 12
mtx: Request Sense: BPV=no
mtx: Request Sense: Error in CDB=no
mtx: Request Sense: SKSV=no
READ ELEMENT STATUS Command Failed
`

func TestComplaint(t *testing.T) {
	sense := parseComplaint(offline)
	want := "library is offline: bring it online at its panel or web page, then start again (sense key 2h, ASC/ASCQ 04h/12h)"
	if sense == nil || sense.Error() != want {
		t.Errorf("got %v, want %s", sense, want)
	}
	attention := strings.NewReplacer("Not Ready", "Unit Attention", "Code = 04", "Code = 28", "Qualifier = 12", "Qualifier = 00").Replace(offline)
	if s := parseComplaint(offline + attention); s == nil || s.Key != tape.UnitAttention || s.ASC != 0x28 || s.ASCQ != 0 {
		t.Errorf("of two complaints the last must count, got %+v", s)
	}
	if s := parseComplaint("mtx: Request Sense: Sense Key=0x05\nmtx: Request Sense: Additional Sense Code = 3B\n"); s == nil || s.Key != 5 || s.ASC != 0x3B {
		t.Errorf("got %+v", s)
	}
	for _, none := range []string{"", "cannot open SCSI device '/dev/sg9' - No such file or directory\n", "Sense Key=No Sense\n"} {
		if s := parseComplaint(none); s != nil {
			t.Errorf("%q is read as %v", none, s)
		}
	}
}

func FuzzComplaint(f *testing.F) {
	f.Add(offline)
	f.Fuzz(func(t *testing.T, text string) {
		if s := parseComplaint(text); s != nil && (s.Key > 15 || s.Text == "") {
			t.Errorf("%+v", s)
		}
	})
}
