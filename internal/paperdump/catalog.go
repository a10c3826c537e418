package paperdump

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"twintape/internal/catalog"
)

// RecordSize is the length of the catalog's record in bytes, unless it was written otherwise.
const RecordSize = 32 << 10

// Catalog is what the first record of a tape says. It names items, and neither their members nor their places.
type Catalog struct {
	PID     string    // of the process that wrote the tape, which names its archives
	Version string    // of the program
	Made    time.Time // by a clock that is taken for UTC; zero if it cannot be read
	Items   []Item
	// Cut says why the list does not name everything; empty if it does, as far as can be told.
	Cut string
	// Odd are lines that cannot be understood, at most mostOdd, quoted.
	Odd  []string
	Text []byte // without what pads the record
}

// Item is one line of the catalog.
type Item struct {
	Archive int // the number in its archive's name
	Host    string
	Path    string
	MD5     catalog.MD5 // of its visdata; zero if the line has none
	Place   string      // what paper-dump called it in its database; it may name both tapes
}

const mostOdd = 10

// begins is how the first line begins.
const begins = "## Paper dump catalog:"

// IsCatalog tells whether a tape's first record is a catalog of paper-dump's.
func IsCatalog(record []byte) bool { return bytes.HasPrefix(record, []byte(begins)) }

var (
	firstLine = regexp.MustCompile(`^` + begins + `\s*([0-9]{1,18})\s*\(version:\s*(.{0,64}?)\s+on\s+([0-9]{8}-[0-9]{4})[^)]*\)`)
	// The second field may hold colons: what paper-dump kept in its database was VERSION[TAPE,TAPE]-ARCHIVE:ITEM.
	itemLine = regexp.MustCompile(`(?s)^[0-9]{1,18}:(.*?):([0-9]{1,9}):([0-9a-fA-F]{32}|None|NULL|):([^/:]+):(/.*)$`)
	counts   = regexp.MustCompile(`(?i)\b(?:items|files)\s*[:=]\s*([0-9]{1,9})\b|\b([0-9]{1,9})\s+(?:items|files)\b`)
)

// ParseCatalog reads the first record of a tape.
func ParseCatalog(record []byte) (*Catalog, error) {
	if !IsCatalog(record) {
		return nil, fmt.Errorf("%w: the first record does not begin with %q", ErrFormat, begins)
	}
	c := &Catalog{Text: bytes.TrimRight(record, "\x00 ")}
	full := len(c.Text) == len(record) || len(c.Text) >= RecordSize
	lines := c.Text
	if full {
		c.Cut = fmt.Sprintf("it fills its record of %d bytes: what did not fit was lost when the tape was written", len(record))
		lines = lines[:bytes.LastIndexByte(lines, '\n')+1] // the rest is the beginning of a line, whatever it looks like
	}
	head, lines, _ := bytes.Cut(lines, []byte("\n"))
	if full && len(head) == 0 {
		head = c.Text
	}
	m := firstLine.FindSubmatch(head)
	if m == nil {
		return nil, fmt.Errorf("%w: its first line is %q", ErrFormat, head[:min(len(head), 100)])
	}
	c.PID, c.Version = string(m[1]), string(m[2])
	if made, err := time.Parse("20060102-1504", string(m[3])); err == nil {
		c.Made = made
	}
	told := 0
	for line := range bytes.SplitSeq(lines, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch it, ok := parseItem(line); {
		case ok:
			c.Items = append(c.Items, it)
		case bytes.HasPrefix(line, []byte("##")):
			for _, n := range counts.FindAllSubmatch(line, -1) {
				count, err := strconv.Atoi(string(n[1]) + string(n[2]))
				if err == nil {
					told = max(told, count)
				}
			}
		case len(bytes.TrimSpace(line)) > 0 && len(c.Odd) < mostOdd:
			c.Odd = append(c.Odd, strconv.QuoteToASCII(string(line[:min(len(line), 200)])))
		}
	}
	if c.Cut == "" && told > len(c.Items) {
		c.Cut = fmt.Sprintf("it says that there are %d items, and lists %d", told, len(c.Items))
	}
	return c, nil
}

func parseItem(line []byte) (it Item, ok bool) {
	m := itemLine.FindSubmatch(line)
	if m == nil {
		return it, false
	}
	it = Item{Place: string(m[1]), Host: string(m[4]), Path: string(m[5])}
	if p := bytes.TrimRight(m[5], "/"); len(p) > 0 {
		it.Path = string(p)
	}
	var err error
	if it.Archive, err = strconv.Atoi(string(m[2])); err != nil {
		return it, false
	}
	if len(m[3]) == 32 {
		if it.MD5, err = catalog.ParseMD5(string(bytes.ToLower(m[3]))); err != nil {
			return it, false
		}
	}
	return it, catalog.CheckName(it.Host, it.Path) == nil
}

// twins is how a place in paper-dump's database names both tapes.
var twins = regexp.MustCompile(`\[([A-Za-z0-9_-]{1,64}),\s*([A-Za-z0-9_-]{1,64})\]`)

// Twin is the barcode of the tape that was written beside the one with a barcode; empty if no line of the catalog tells.
func (c *Catalog) Twin(barcode string) string {
	for _, it := range c.Items {
		switch m := twins.FindStringSubmatch(it.Place); {
		case m == nil:
		case m[1] == barcode:
			return m[2]
		case m[2] == barcode:
			return m[1]
		}
	}
	return ""
}
