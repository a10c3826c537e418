package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

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
