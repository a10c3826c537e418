package catalog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of JSON in bytes: more than any member within the limits of Entry.check can take.
const maxLine = 4 << 20

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

// end makes sure that nothing follows.
func (l *lineReader) end() error {
	err := l.read()
	if err == nil {
		return l.bad("follows the end")
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
