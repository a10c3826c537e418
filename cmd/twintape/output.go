package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// printJSON prints one line of JSON.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// putPath puts bytes that are a name into a JSON object: as they are if they are UTF-8, else under key_b64.
func putPath(line map[string]any, key, name string) {
	if utf8.ValidString(name) {
		line[key] = name
	} else {
		line[key+"_b64"] = []byte(name)
	}
}

// printable quotes a name that a terminal or a reader could mistake, as a Go string.
func printable(name string) string {
	if q := strconv.Quote(name); len(q) != len(name)+2 || strings.HasPrefix(name, " ") || strings.HasSuffix(name, " ") {
		return q
	}
	return name
}

// escaped makes a message that may hold names fit for a terminal: one line, with escapes for what is not printable.
func escaped(message string) string {
	var b strings.Builder
	for len(message) > 0 {
		r, n := utf8.DecodeRuneInString(message)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, message[0])
		case !strconv.IsPrint(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
		message = message[n:]
	}
	return b.String()
}

// rowsAtOnce is how many rows of a table are laid out together, so that long lists stream.
const rowsAtOnce = 500

// table prints rows in columns. Its cells must be printable.
type table struct {
	out  io.Writer
	buf  bytes.Buffer
	w    *tabwriter.Writer
	head []string // printed before the first row
	rows int
}

func newTable(out io.Writer, head ...string) *table {
	t := &table{out: out, head: head}
	t.w = tabwriter.NewWriter(&t.buf, 0, 0, 2, ' ', 0)
	return t
}

func (t *table) row(cells ...string) error {
	if t.rows == 0 && len(t.head) > 0 {
		fmt.Fprintln(t.w, strings.Join(t.head, "\t"))
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	if t.rows++; t.rows%rowsAtOnce == 0 {
		return t.flush()
	}
	return nil
}

// flush prints what is left, without blanks at the ends of lines.
func (t *table) flush() error {
	t.w.Flush() // into a buffer, which takes everything
	for line := range strings.Lines(t.buf.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	t.buf.Reset()
	return nil
}

// size spells bytes in the units of tapes and drives: 1 MB is 1000000 bytes.
func size(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// rate spells bytes in a time as bytes per second.
func rate(bytes int64, in time.Duration) string {
	if in <= 0 {
		return "-"
	}
	return size(int64(float64(bytes)/in.Seconds())) + "/s"
}

// count spells a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// took spells a duration as finely as it matters.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// date spells a time; nothing if it is zero.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
