package main

import (
	"fmt"
	"strings"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// recipe says how a member comes back from one copy, with its directories, owner, mode and time, by the system's own tools
// alone. docs/tape-format.md explains the numbers.
type recipe struct {
	Barcode string   `json:"barcode"`
	Drive   []string `json:"drive"`           // command lines for the tape in /dev/nst0
	Image   string   `json:"image,omitempty"` // command line for the file of a virtual cartridge; empty where records differ in length
	Check   string   `json:"check,omitempty"` // command line that compares the md5; empty unless a good file
}

const tarBlock = 512

// plainNames lets tar make host/path of what paper-dump calls paper.PID.N/host:/path.
const plainNames = ` --transform='s,^paper\.[0-9]*\.[0-9]*/\([^/:]*\):/,\1/,'`

func newRecipe(e catalog.Entry, c ledger.Copy, t ledger.Tape, image string) recipe {
	recordSize := t.RecordSize
	length := int64(e.Header) + (e.Size+tarBlock-1)/tarBlock*tarBlock
	records := (int64(e.Offset) + length + int64(recordSize) - 1) / int64(recordSize)
	member := fmt.Sprintf("tail -c +%d | head -c %d | tar -xpf -", e.Offset+1, length)
	if t.WrittenBy != "" {
		member += plainNames
	}

	// In an image a length of 4 bytes stands before and behind each record, and a filemark takes 4 bytes.
	framed := int64(recordSize) + 8
	filemarks := int64(c.TapeFile)
	start := (e.Record-filemarks)*framed + filemarks*4

	r := recipe{
		Barcode: c.Barcode,
		Drive: []string{
			"mt -f /dev/nst0 setblk 0",
			fmt.Sprintf("mt -f /dev/nst0 seek %d", e.Record),
			fmt.Sprintf("dd if=/dev/nst0 bs=%d count=%d | %s", recordSize, records, member),
		},
		Image: fmt.Sprintf("tail -c +%d %s | head -c %d | split -b %d --filter='tail -c +5 | head -c -4; :' | %s",
			start+1, shellQuote(image), records*framed, framed, member),
	}
	if t.WrittenBy != "" { // what lies before may have shorter records
		r.Image = ""
	}
	if !e.MD5.IsZero() {
		one := catalog.Archive{Items: []catalog.Item{{Entries: []catalog.Entry{e}}}}
		r.Check = fmt.Sprintf("printf '%%s\\n' %s | md5sum -c", shellQuote(strings.TrimSuffix(string(one.SumsText()), "\n")))
	}
	return r
}

// shellQuote makes one word of a text for bash; bytes that a terminal could mistake are written as $'…' has them.
func shellQuote(text string) string {
	var b strings.Builder
	b.WriteString("$'")
	plain := true
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
			plain = false
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03o", c)
			plain = false
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	if plain {
		return "'" + text + "'"
	}
	return b.String()
}
