package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"pot1:/data/zen.1.uv": "pot1:/data/zen.1.uv",
		"pot1:/a b":           "pot1:/a b",
		"pot1:/Tübingen":      "pot1:/Tübingen",
		"pot1:/a\x1b[2J":      `"pot1:/a\x1b[2J"`,
		"pot1:/a\nb":          `"pot1:/a\nb"`,
		"pot1:/\xe9":          `"pot1:/\xe9"`,
		"pot1:/\u202egpj":     `"pot1:/\u202egpj"`,
		`pot1:/a"b`:           `"pot1:/a\"b"`,
		"ends blank ":         `"ends blank "`,
	} {
		if got := printable(name); got != want {
			t.Errorf("%q is printed as %s instead of %s", name, got, want)
		}
	}
}

// TestNothingRaw: whatever a name is, what is printed is one line that no terminal obeys, and a quoted name comes back.
func TestNothingRaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		shown := printable(name)
		for _, s := range []string{shown, escaped(name)} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
				t.Fatalf("%q is shown as %q", name, s)
			}
		}
		if back, err := strconv.Unquote(shown); shown != name && (err != nil || back != name) {
			t.Fatalf("%q is shown as %s, which reads %q (%v)", name, shown, back, err)
		}
	})
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	rows := newTable(&out, "ID", "NAME", "WHY")
	for i := range 3 {
		why := ""
		if i == 1 {
			why = "because"
		}
		if err := rows.row(strconv.Itoa(i), strings.Repeat("x", i), why); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.flush(); err != nil {
		t.Fatal(err)
	}
	want := "ID  NAME  WHY\n0\n1   x     because\n2   xx\n"
	if out.String() != want {
		t.Errorf("printed\n%s, want\n%s", out.String(), want)
	}
	empty := newTable(&out, "ID")
	out.Reset()
	if err := empty.flush(); err != nil || out.Len() > 0 {
		t.Errorf("an empty table prints %q, %v", out.String(), err)
	}
}

// TestLongTablesStream: what was given long ago is printed already.
func TestLongTablesStream(t *testing.T) {
	var out bytes.Buffer
	rows := newTable(&out)
	for i := range 10 * rowsAtOnce {
		if err := rows.row(strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(out.String(), fmt.Sprintf("\n%d  x\n", 8*rowsAtOnce)) {
		t.Error("rows are kept back")
	}
}

func TestShellQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.ByteRange(1, 255)).Draw(t, "text"))
		quoted := shellQuote(text)
		if strings.ContainsFunc(quoted, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q is quoted as %q", text, quoted)
		}
		got, err := exec.Command("bash", "-c", "printf %s "+quoted).Output()
		if err != nil || string(got) != text {
			t.Fatalf("%s is read as %q instead of %q (%v)", quoted, got, text, err)
		}
	})
}

func TestPutPath(t *testing.T) {
	for name, want := range map[string]string{
		"/a":    `{"path":"/a"}`,
		"/<\n>": `{"path":"/<\n>"}`,
		"/\xff": `{"path_b64":"L/8="}`,
	} {
		line := map[string]any{}
		putPath(line, "path", name)
		var out bytes.Buffer
		if err := printJSON(&out, line); err != nil || out.String() != want+"\n" {
			t.Errorf("%q is %s instead of %s (%v)", name, out.String(), want, err)
		}
	}
}
