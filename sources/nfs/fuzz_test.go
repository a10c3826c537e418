package nfs

import (
	"bufio"
	"bytes"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someAttr() *attr {
	return &attr{kind: typeRegular, mode: 0o4755, nlink: 2, uid: 3, gid: 4, size: 5, fsid: 6, fileid: 7, mtime: time.Unix(8, 9), ctime: time.Unix(10, 11)}
}

func someListing() listing {
	return listing{1, 2, []entry{{"a", someAttr(), "handle"}, {"b\xff\n", nil, ""}, {"c", nil, "h"}}, true}
}

// FuzzAnswers has a server send anything to a READ (number 0) and another call (number 1), in any order.
func FuzzAnswers(f *testing.F) {
	read := ok(func(e *encoder) { e.read(someAttr(), "some data", true) })
	f.Add(append(accepted(1, ok(func(e *encoder) { e.attr(someAttr()) })), accepted(0, read)...))
	f.Add(accepted(0, failed(statusStale)))
	f.Add(accepted(1, make([]byte, 101)))
	f.Add(marked([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5}))
	whole := accepted(0, read)
	f.Add(append(append([]byte{0, 0, 0, 10}, whole[4:14]...), append([]byte{0x80, 0, 0, byte(len(whole) - 14)}, whole[14:]...)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		memory := bytes.Repeat([]byte{0xa5}, 64)
		reads, other := &call{into: memory[:32:32], done: make(chan struct{})}, &call{limit: 100, done: make(chan struct{})}
		c := &conn{sock: ours, next: 2, pending: map[uint32]*call{0: reads, 1: other}, dead: make(chan struct{})}
		src := bufio.NewReader(bytes.NewReader(stream))
		for c.answer(src) == nil {
		}
		if !bytes.Equal(memory[32:], bytes.Repeat([]byte{0xa5}, 32)) {
			t.Error("memory behind the buffer was written")
		}
		if len(other.body) > 100 {
			t.Errorf("%d bytes were taken", len(other.body))
		}
	})
}

// FuzzResults decodes anything as the results of each procedure. What is taken says the same when it is written and read again.
func FuzzResults(f *testing.F) {
	for _, results := range []func(e *encoder){
		func(e *encoder) { e.attr(someAttr()) },
		func(e *encoder) { e.lookup(lookupReply{"handle", someAttr()}) },
		func(e *encoder) { e.listing(someListing(), true) },
		func(e *encoder) { e.listing(someListing(), false) },
		func(e *encoder) { e.fsinfo(fsinfo{1 << 20, 1 << 16}) },
		func(e *encoder) { e.optionalAttr(someAttr()); e.string("target") },
		func(e *encoder) { handle("root").encode(e); e.uint32(1); e.uint32(authSys) },
		func(e *encoder) {
			e.uint32(1)
			e.string("/data")
			e.uint32(1)
			e.string("pot*")
			e.uint32(0)
			e.uint32(0)
		},
		func(e *encoder) { e.b = append(e.b, make([]byte, 52)...) },
	} {
		e := new(encoder)
		results(e)
		f.Add(e.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, b, (*decoder).attr, func(e *encoder, a attr) { e.attr(&a) })
		roundTrip(t, b, (*decoder).lookup, (*encoder).lookup)
		roundTrip(t, b, (*decoder).fsinfo, (*encoder).fsinfo)
		for _, plus := range []bool{true, false} {
			roundTrip(t, b, func(d *decoder) listing { return d.listing(plus) }, func(e *encoder, l listing) {
				if len(l.entries) == 0 {
					l.cookie = 0 // that of "." or ".."
				}
				e.listing(l, plus)
			})
			d := &decoder{b: b}
			for _, n := range d.listing(plus).entries {
				if n.name == "" || n.name == "." || n.name == ".." || strings.ContainsAny(n.name, "/\x00") || len(n.name) > maxName {
					t.Errorf("an entry named %q", n.name)
				}
			}
		}
		for _, decode := range []func(d *decoder){
			func(d *decoder) { d.access() }, func(d *decoder) { d.fsstat() }, func(d *decoder) { d.exportList() }, func(d *decoder) { d.mnt() },
			func(d *decoder) {
				if len(d.readlink()) > maxPath {
					t.Error("a long target")
				}
			},
		} {
			d := &decoder{b: b}
			decode(d)
			if err := d.end(); err == nil && len(b) > 0 && len(d.b) > 0 {
				t.Error("bytes are left, and that is no fault")
			}
		}
	})
}

func roundTrip[T any](t *testing.T, b []byte, decode func(d *decoder) T, encode func(e *encoder, v T)) {
	t.Helper()
	d := &decoder{b: b}
	v := decode(d)
	if d.end() != nil {
		return
	}
	e := new(encoder)
	encode(e, v)
	d = &decoder{b: e.b}
	if w := decode(d); d.end() != nil || !reflect.DeepEqual(v, w) {
		t.Errorf("%+v was written, and read as %+v, %v", v, w, d.err)
	}
}
