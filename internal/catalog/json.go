package catalog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds a line of JSON in bytes: more than any member within the limits of Entry.check can take.
const maxLine = 4 << 20

// What of a reason the catalog keeps, in bytes.
const (
	maxItemReason   = 512
	maxMemberReason = 200
)

// kind is the first field of every line and tells what it is.
type kind struct {
	Line string `json:"line"`
}

// The lines of catalogs and manifests. Bytes that are not UTF-8 go to the field with _b64 (base64), all else to the plain
// one; times are UTC, RFC 3339.
type (
	sessionLine struct {
		kind
		Version    int       `json:"version"`
		Pair       string    `json:"pair"`
		Session    string    `json:"session"`
		Job        string    `json:"job"`
		Number     int       `json:"number"`
		RecordSize int       `json:"record_size"`
		Closed     time.Time `json:"closed"`
		Record     int64     `json:"record"`
		Earlier    int       `json:"earlier"`
	}
	earlierLine struct {
		kind
		Session  string `json:"session"`
		TapeFile int    `json:"tape_file"`
		Record   int64  `json:"record"`
		MD5      MD5    `json:"md5"`
	}
	archiveLine struct {
		kind
		Number   int   `json:"number"`
		TapeFile int   `json:"tape_file"`
		Record   int64 `json:"record"`
		Records  int64 `json:"records"`
		Items    int   `json:"items"`
	}
	itemLine struct {
		kind
		ID      int64  `json:"id,omitempty"`
		Host    string `json:"host"`
		Path    string `json:"path,omitempty"`
		PathB64 []byte `json:"path_b64,omitempty"`
		Members int    `json:"members"`
		Bad     string `json:"bad,omitempty"`
	}
	memberLine struct {
		kind
		Path     string      `json:"path,omitempty"`
		PathB64  []byte      `json:"path_b64,omitempty"`
		Type     Type        `json:"type"`
		Size     int64       `json:"size"`
		Mode     string      `json:"mode"`
		MTime    time.Time   `json:"mtime"`
		UID      uint32      `json:"uid"`
		GID      uint32      `json:"gid"`
		User     string      `json:"user,omitempty"`
		UserB64  []byte      `json:"user_b64,omitempty"`
		Group    string      `json:"group,omitempty"`
		GroupB64 []byte      `json:"group_b64,omitempty"`
		Link     string      `json:"link,omitempty"`
		LinkB64  []byte      `json:"link_b64,omitempty"`
		Xattrs   []xattrLine `json:"xattrs,omitempty"`
		Place    *placeLine  `json:"place,omitempty"`
		MD5      MD5         `json:"md5,omitzero"`
		Bad      string      `json:"bad,omitempty"`
	}
	xattrLine struct {
		Name     string `json:"name,omitempty"`
		NameB64  []byte `json:"name_b64,omitempty"`
		Value    string `json:"value,omitempty"`
		ValueB64 []byte `json:"value_b64,omitempty"`
	}
	placeLine struct {
		Record int64 `json:"record"`
		Offset int   `json:"offset"`
		Header int   `json:"header"`
	}
	endLine struct {
		kind
		Archives int64 `json:"archives"`
		Items    int64 `json:"items"`
		Members  int64 `json:"members"`
	}
	manifestLine struct {
		kind
		Version    int    `json:"version"`
		Pair       string `json:"pair"`
		Session    string `json:"session"`
		Job        string `json:"job"`
		Number     int    `json:"number"`
		TapeFile   int    `json:"tape_file"`
		Record     int64  `json:"record"`
		RecordSize int    `json:"record_size"`
		Items      int    `json:"items"`
		Members    int    `json:"members"`
	}
	fileLine struct { // a member in a manifest
		kind
		Path    string `json:"path,omitempty"`
		PathB64 []byte `json:"path_b64,omitempty"`
		Type    Type   `json:"type"`
		Size    int64  `json:"size"`
	}
)

// newLines returns an encoder that writes each value as one line.
func newLines(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// lineReader reads lines of JSON, each at most maxLine bytes long.
type lineReader struct {
	r    *bufio.Reader
	line []byte // without its newline; valid until the next call
	n    int64  // lines read
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 16<<10)} }

// read takes the next line. io.EOF: there is none.
func (l *lineReader) read() error {
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part...)
		switch {
		case len(l.line) > maxLine:
			return l.bad("longer than %d bytes", maxLine)
		case err == nil:
			l.line = l.line[:len(l.line)-1]
			l.n++
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.line) == 0:
			return io.EOF
		case errors.Is(err, io.EOF):
			return l.bad("cut off")
		default:
			return fmt.Errorf("read line %d: %w", l.n+1, err)
		}
	}
}

// decode takes the next line into v, which must be of the kind that is expected here.
func (l *lineReader) decode(want string, v any) error {
	if err := l.read(); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: ends after line %d where a line %q must follow", ErrFormat, l.n, want)
	} else if err != nil {
		return err
	}
	return l.parse(want, v)
}

// decodeHead is decode for a first line: a later version is told as such, not as the unknown field it may bring.
func (l *lineReader) decodeHead(want string, v any) error {
	var head struct {
		Line    string `json:"line"`
		Version int    `json:"version"`
	}
	if err := l.read(); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: empty where a line %q must stand", ErrFormat, want)
	}
	if json.Unmarshal(l.line, &head) == nil && head.Line == want && head.Version != Version {
		return fmt.Errorf("%w: version %d; this program reads version %d", ErrFormat, head.Version, Version)
	}
	return l.parse(want, v)
}

// parse reads the current line into v.
func (l *lineReader) parse(want string, v any) error {
	// The kind stands at a fixed place, so a wrong one is told as such and not as an unknown field.
	if got := l.kind(); got != want {
		return l.bad("kind %q where %q must follow", clip(got), want)
	}
	d := json.NewDecoder(bytes.NewReader(l.line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return l.bad("%v", err)
	}
	if d.InputOffset() != int64(len(l.line)) {
		return l.bad("more than one value")
	}
	return nil
}

// kind returns what the current line says it is.
func (l *lineReader) kind() string {
	rest, _ := bytes.CutPrefix(l.line, []byte(`{"line":"`))
	k, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(k)
}

// bad makes an error of the current line.
func (l *lineReader) bad(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrFormat, l.n, fmt.Sprintf(format, args...))
}

// split puts bytes where JSON can hold them.
func split(s string) (plain string, b64 []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return "", []byte(s)
}

// join is split's reverse.
func join(plain string, b64 []byte) (string, error) {
	if len(b64) == 0 {
		return plain, nil
	}
	if plain != "" || utf8.Valid(b64) {
		return "", errors.New("base64 only where bytes are not UTF-8")
	}
	return string(b64), nil
}

// lineOf returns a member's line for the catalog.
func (e *Entry) lineOf() memberLine {
	m := memberLine{
		kind: kind{"member"}, Type: e.Type, Size: e.Size, Mode: fmt.Sprintf("%04o", e.Mode), MTime: e.MTime.UTC(),
		UID: e.UID, GID: e.GID, MD5: e.MD5, Bad: reason(e.Bad, maxMemberReason),
	}
	m.Path, m.PathB64 = split(e.Path)
	m.User, m.UserB64 = split(e.User)
	m.Group, m.GroupB64 = split(e.Group)
	m.Link, m.LinkB64 = split(e.Link)
	for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
		var x xattrLine
		x.Name, x.NameB64 = split(k)
		x.Value, x.ValueB64 = split(e.Xattrs[k])
		m.Xattrs = append(m.Xattrs, x)
	}
	if e.Type.OnTape() {
		m.Place = &placeLine{Record: e.Record, Offset: e.Offset, Header: e.Header}
	}
	return m
}

// entry is lineOf's reverse; host and archive come from the lines before.
func (m *memberLine) entry(host string, archive int) (Entry, error) {
	e := Entry{
		Host: host, Type: m.Type, Size: m.Size, MTime: m.MTime.UTC(), UID: m.UID, GID: m.GID, MD5: m.MD5, Bad: m.Bad,
	}
	var errs [5]error
	e.Path, errs[0] = join(m.Path, m.PathB64)
	e.User, errs[1] = join(m.User, m.UserB64)
	e.Group, errs[2] = join(m.Group, m.GroupB64)
	e.Link, errs[3] = join(m.Link, m.LinkB64)
	if n, err := fmt.Sscanf(m.Mode, "%o", &e.Mode); n != 1 || err != nil || fmt.Sprintf("%04o", e.Mode) != m.Mode {
		errs[4] = fmt.Errorf("mode %q", clip(m.Mode))
	}
	for _, x := range m.Xattrs {
		k, err := join(x.Name, x.NameB64)
		v, err2 := join(x.Value, x.ValueB64)
		if _, twice := e.Xattrs[k]; twice || err != nil || err2 != nil {
			return Entry{}, fmt.Errorf("extended attribute %q", clip(k))
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[k] = v
	}
	if m.Place != nil {
		e.Place = Place{Archive: archive, Record: m.Place.Record, Offset: m.Place.Offset, Header: m.Place.Header}
	}
	if (m.Place != nil) != m.Type.OnTape() {
		return Entry{}, fmt.Errorf("a %q with, or a member without, a place on the tape", clip(string(m.Type)))
	}
	return e, errors.Join(errs[:]...)
}

// reason makes one printable line of why something is bad, at most limit bytes long.
func reason(s string, limit int) string {
	s = printable(s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// printable replaces what would disturb a line of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
