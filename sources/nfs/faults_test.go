package nfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"twintape/sources"
)

const longTimeout = 20 * time.Second

// text is n bytes of which no two parts are the same.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

func TestFakeServerIsSound(t *testing.T) {
	s := startFake(t)
	s.put("file", text(12345))
	src := s.source(longTimeout)
	if got, err := readAll(t, src, "file", 12345); err != nil || got != text(12345) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	infos, err := src.ReadDir(t.Context(), "/")
	if err != nil || len(infos) != 1 || infos[0].Name != "file" || infos[0].Size != 12345 {
		t.Errorf("%v, %v", infos, err)
	}
}

// TestShortReads: a server may send less than was asked for, a single byte too.
func TestShortReads(t *testing.T) {
	s := startFake(t)
	f := s.put("file", text(5000))
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name != "READ" {
			return nil, false
		}
		c.args.handle()
		off, count := int(c.args.uint64()), int(c.args.uint32())
		n := min(count, 1+c.nth*37%400, len(f.data)-off)
		return ok(func(e *encoder) { e.read(&f.attr, f.data[off:off+n], off+n == len(f.data)) }), true
	})
	src := s.source(longTimeout)
	if got, err := readAll(t, src, "file", 5000); err != nil || got != f.data {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := readAll(t, src, "file", 6000); !errors.Is(err, io.EOF) || got != f.data {
		t.Errorf("behind the end: %d bytes, %v", len(got), err)
	}
}

// TestEarlyEnd: an end of the file that the file's size belies is none.
func TestEarlyEnd(t *testing.T) {
	s := startFake(t)
	f := s.put("file", text(5000))
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name != "READ" {
			return nil, false
		}
		c.args.handle()
		off := int(c.args.uint64())
		return ok(func(e *encoder) { e.read(&f.attr, f.data[min(off, 700):700], true) }), true
	})
	got, err := readAll(t, s.source(longTimeout), "file", 900)
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || got != f.data[:700] {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// Without a size the server is believed.
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name != "READ" {
			return nil, false
		}
		return ok(func(e *encoder) { e.read(nil, f.data[:700], true) }), true
	})
	if got, err := readAll(t, s.source(longTimeout), "file", 900); !errors.Is(err, io.EOF) || got != f.data[:700] {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestLateAnswer: a call whose answer does not come, while others are answered, is given up alone; the answer that comes
// after all is nobody's, and the connection stays.
func TestLateAnswer(t *testing.T) {
	s := startFake(t)
	one, two := s.put("one", text(800)), s.put("two", strings.Repeat("x", 800))
	src, err := New(Config{
		Host: "fake", Address: "127.0.0.1", Exports: []string{"/data"}, Root: "/data", Credential: &Credential{}, NFSPort: s.port, MountPort: s.port,
		Timeout: time.Second, Connections: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	f, err := src.Open(t.Context(), "/one")
	if err != nil {
		t.Fatal(err)
	}
	g, err := src.Open(t.Context(), "/two")
	if err != nil {
		t.Fatal(err)
	}
	var late fakeCall
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name == "READ" && c.args.handle() == one.fh && late.conn == nil {
			late = c
			return nil, true
		}
		return nil, false
	})
	buf, other := make([]byte, 800), make([]byte, 800)
	done := make(chan error)
	go func() { _, err := f.ReadAt(t.Context(), buf, 0); done <- err }()
	for over := false; !over; {
		select {
		case err := <-done:
			over = true
			if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "no answer to READ for 1s, but to later calls") {
				t.Errorf("the late one: %v", err)
			}
		default:
			if _, err := g.ReadAt(t.Context(), other, 0); err != nil || string(other) != two.data {
				t.Fatalf("another call meanwhile: %q, %v", other, err)
			}
		}
	}
	clear(buf)
	s.mu.Lock()
	answer := accepted(late.xid, ok(func(e *encoder) { e.read(&one.attr, strings.Repeat("late", 200), true) }))
	_, err = late.conn.Write(answer)
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := g.ReadAt(t.Context(), other, 0); err != nil || string(other) != two.data {
			t.Errorf("after the late answer: %q, %v", other, err)
		}
	}
	if !bytes.Equal(buf, make([]byte, 800)) {
		t.Error("the late answer was written into memory that is not its any more")
	}
	if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf) != one.data {
		t.Errorf("the file, again: %q, %v", buf, err)
	}
	if n := s.count("NULL"); n != 0 {
		t.Errorf("%d further connections were made", n)
	}
}

// TestJukebox: a file that must come from slow storage first is waited for, but not for ever.
func TestJukebox(t *testing.T) {
	s := startFake(t)
	s.put("file", text(300))
	times := 3
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.nth <= times && (c.name == "READ" || c.name == "LOOKUP") {
			return failed(statusJukebox), true
		}
		return nil, false
	})
	if got, err := readAll(t, s.source(longTimeout), "file", 300); err != nil || got != text(300) {
		t.Errorf("%q, %v", got, err)
	}
	s.mu.Lock()
	times = 1 << 30
	s.mu.Unlock()
	_, err := readAll(t, s.source(time.Second), "file", 300)
	if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "slower storage") {
		t.Errorf("%v", err)
	}
}

// TestStaleHandle: the server forgot a handle, but has the same file at the same path.
func TestStaleHandle(t *testing.T) {
	s := startFake(t)
	file := s.put("file", text(3500))
	src := s.source(longTimeout)
	f, err := src.Open(t.Context(), "/file")
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		buf := make([]byte, 3500)
		_, err := f.ReadAt(t.Context(), buf, 0)
		if err == nil && string(buf) != text(3500) {
			err = errors.New("wrong data")
		}
		return err
	}
	change := func(do func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
	}
	change(func() { file.fh = "another handle" })
	if err := read(); err != nil {
		t.Error(err)
	}
	if s.count("MNT") != 2 {
		t.Errorf("the export was mounted %d times, want another time", s.count("MNT"))
	}
	// The same number, but another file by its change time; and another number.
	for _, other := range []func(){
		func() { file.fh, file.attr.ctime = "third", time.Unix(9, 9) },
		func() { file.fh, file.attr.fileid = "fourth", 4711 },
	} {
		if f, err = src.Open(t.Context(), "/file"); err != nil {
			t.Fatal(err)
		}
		change(other)
		for range 2 {
			if err := read(); !errors.Is(err, syscall.ESTALE) || !strings.Contains(err.Error(), "replaced") {
				t.Errorf("%v", err)
			}
		}
	}
	// A directory's handle: found again by path, once.
	if _, err := src.Stat(t.Context(), "/file"); err != nil {
		t.Error(err)
	}
	stales := 1
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name == "LOOKUP" && c.nth <= stales {
			return failed(statusBadHandle), true
		}
		return nil, false
	})
	if _, err := src.Stat(t.Context(), "/file"); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	stales = 1 << 30
	s.mu.Unlock()
	if _, err := src.Stat(t.Context(), "/file"); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("%v", err)
	}
}

// TestPoorLists: servers that leave attributes or handles out, or do not know READDIRPLUS, or lose the place once.
func TestPoorLists(t *testing.T) {
	s := startFake(t)
	a, b := s.put("a", "1"), s.put("b", "22")
	gone := entry{name: "gone"}
	lists := map[string]func(c fakeCall) ([]byte, bool){
		"no attributes": func(c fakeCall) ([]byte, bool) {
			l := listing{cookie: 1, end: true, entries: []entry{{"b", nil, b.fh}, {"a", nil, ""}, gone, {"stale", nil, "unknown"}}}
			return ok(func(e *encoder) { e.listing(l, true) }), c.name == "READDIRPLUS"
		},
		"READDIR only": func(c fakeCall) ([]byte, bool) {
			if c.name == "READDIRPLUS" {
				return failed(statusNotSupp), true
			}
			l := listing{cookie: 1, end: true, entries: []entry{{name: "."}, {name: ".."}, {name: "b"}, gone, {name: "a"}}}
			return ok(func(e *encoder) { e.listing(l, false) }), c.name == "READDIR"
		},
		"lost the place": func(c fakeCall) ([]byte, bool) {
			if c.name != "READDIRPLUS" {
				return nil, false
			}
			c.args.handle()
			cookie, verifier := c.args.uint64(), c.args.uint64()
			switch {
			case cookie == 0:
				return ok(func(e *encoder) { e.listing(listing{uint64(c.nth), 5, []entry{{"b", &b.attr, b.fh}}, false}, true) }), true
			case cookie != 5 || verifier != uint64(c.nth-1):
				t.Errorf("cookie %d, verifier %d", cookie, verifier)
			case c.nth == 2:
				return failed(statusBadCookie), true
			}
			return ok(func(e *encoder) { e.listing(listing{verifier, 6, []entry{{"a", &a.attr, a.fh}}, true}, true) }), true
		},
	}
	for name, hook := range lists {
		s.set(hook)
		infos, err := s.source(longTimeout).ReadDir(t.Context(), "/")
		if err != nil || len(infos) != 2 || infos[0].Name != "a" || infos[0].Size != 1 || infos[1].Name != "b" || infos[1].Size != 2 {
			t.Errorf("%s: %+v, %v", name, infos, err)
		}
	}
}

// TestHostileLists: lists that no file system has are refused.
func TestHostileLists(t *testing.T) {
	s := startFake(t)
	a := s.put("a", "1")
	one := func(name string) listing {
		return listing{cookie: 1, end: true, entries: []entry{{name, &a.attr, a.fh}}}
	}
	for what, l := range map[string]listing{
		"a slash": one("x/y"), "only a slash": one("/"), "a zero byte": one("x\x00"), "no name": one(""), "a long name": one(strings.Repeat("n", maxName+1)),
		"no end": {cookie: 1, entries: one("a").entries}, "no end and no entry": {},
	} {
		s.set(func(c fakeCall) ([]byte, bool) {
			return ok(func(e *encoder) { e.listing(l, true) }), c.name == "READDIRPLUS"
		})
		infos, err := s.source(longTimeout).ReadDir(t.Context(), "/")
		if err == nil || !strings.Contains(err.Error(), "malformed") && !strings.Contains(err.Error(), "has no end") {
			t.Errorf("%s: %v, %v", what, infos, err)
		}
	}
}

// TestMalformed: whatever the server sends instead of an answer ends the connection, not the process, and is told; the next
// call has a connection of its own.
func TestMalformed(t *testing.T) {
	s := startFake(t)
	f := s.put("file", text(900))
	good := ok(func(e *encoder) { e.read(&f.attr, f.data, true) })
	raw := func(words ...uint32) []byte {
		e := &encoder{make([]byte, 4)}
		for _, w := range words {
			e.uint32(w)
		}
		return marked(e.b)
	}
	for what, answer := range map[string]func(xid uint32) []byte{
		"another's number":    func(xid uint32) []byte { return accepted(xid+1000, good) },
		"a call":              func(xid uint32) []byte { return raw(xid, rpcCall, 0, 0, 0, 0) },
		"half a head":         func(xid uint32) []byte { return raw(xid, rpcReply, rpcAccepted) },
		"no results":          func(xid uint32) []byte { return accepted(xid, nil) },
		"half of them":        func(xid uint32) []byte { return accepted(xid, good[:len(good)-100]) },
		"more":                func(xid uint32) []byte { return accepted(xid, append(bytes.Clone(good), 0, 0, 0, 0)) },
		"a long verifier":     func(xid uint32) []byte { return raw(xid, rpcReply, rpcAccepted, authNone, 1<<31) },
		"an unknown status":   func(xid uint32) []byte { return raw(xid, rpcReply, rpcAccepted, authNone, 0, 77) },
		"an unknown kind":     func(xid uint32) []byte { return raw(xid, rpcReply, 2) },
		"an unknown denial":   func(xid uint32) []byte { return raw(xid, rpcReply, rpcDenied, 5, 0) },
		"an empty fragment":   func(uint32) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, 0} },
		"an endless fragment": func(xid uint32) []byte { return append([]byte{0xff, 0xff, 0xff, 0xff}, accepted(xid, good)[4:]...) },
		"more data than asked": func(xid uint32) []byte {
			return accepted(xid, ok(func(e *encoder) { e.read(&f.attr, text(901), true) }))
		},
		"another count": func(xid uint32) []byte {
			return accepted(xid, ok(func(e *encoder) { e.optionalAttr(nil); e.uint32(800); e.bool(true); e.string(text(900)) }))
		},
		"no truth value": func(xid uint32) []byte { return accepted(xid, ok(func(e *encoder) { e.uint32(2) })) },
		"an impossible type": func(xid uint32) []byte {
			a := f.attr
			a.kind = 9
			return accepted(xid, ok(func(e *encoder) { e.read(&a, f.data, true) }))
		},
		"text": func(uint32) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
	} {
		t.Run(what, func(t *testing.T) {
			bad := true
			s.set(func(c fakeCall) ([]byte, bool) {
				if c.name != "READ" || !bad {
					return nil, false
				}
				if _, err := c.conn.Write(answer(c.xid)); err != nil {
					t.Log(err) // the client is gone
				}
				if what == "an endless fragment" || what == "text" {
					c.conn.Close()
				}
				return nil, true
			})
			src := s.source(longTimeout)
			file, err := src.Open(t.Context(), "/file")
			if err != nil {
				t.Fatal(err)
			}
			buf := bytes.Repeat([]byte{0xa5}, 1000)
			_, err = file.ReadAt(t.Context(), buf[:900:900], 0)
			if !errors.Is(err, sources.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) || what != "text" && !errors.Is(err, errMalformed) {
				t.Errorf("%v", err)
			}
			if !bytes.Equal(buf[900:], bytes.Repeat([]byte{0xa5}, 100)) {
				t.Error("memory behind the buffer was written")
			}
			s.mu.Lock()
			bad = false
			s.mu.Unlock()
			if _, err := file.ReadAt(t.Context(), buf[:900:900], 0); err != nil || string(buf[:900]) != f.data {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestRefusals: what the RPC layer says is told.
func TestRefusals(t *testing.T) {
	s := startFake(t)
	s.put("file", text(900))
	for want, words := range map[string][]uint32{
		"serves versions 4 to 4":       {rpcAccepted, authNone, 0, acceptProgMismatch, 4, 4},
		"does not serve this program":  {rpcAccepted, authNone, 0, acceptProgUnavail},
		"garbage arguments":            {rpcAccepted, authNone, 0, 4},
		"AUTH_TOOWEAK":                 {rpcDenied, rejectAuth, 5},
		"versions 3 to 9 of ONC RPC":   {rpcDenied, rejectMismatch, 3, 9},
		"the credential (reason 4711)": {rpcDenied, rejectAuth, 4711},
	} {
		s.set(func(c fakeCall) ([]byte, bool) {
			if c.name != "READ" {
				return nil, false
			}
			e := &encoder{make([]byte, 4)}
			for _, w := range append([]uint32{c.xid, rpcReply}, words...) {
				e.uint32(w)
			}
			if _, err := c.conn.Write(marked(e.b)); err != nil {
				t.Error(err)
			}
			return nil, true
		})
		if _, err := readAll(t, s.source(longTimeout), "file", 900); !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestFragments: a record may come in any pieces.
func TestFragments(t *testing.T) {
	s := startFake(t)
	f := s.put("file", text(997))
	s.set(func(c fakeCall) ([]byte, bool) {
		if c.name != "READ" && c.name != "LOOKUP" {
			return nil, false
		}
		body := ok(func(e *encoder) {
			if c.name == "READ" {
				e.read(&f.attr, f.data, true)
			} else {
				e.lookup(lookupReply{f.fh, &f.attr})
			}
		})
		rest := accepted(c.xid, body)[4:]
		for i := 0; len(rest) > 0; i++ {
			n := min(1+i%7, len(rest))
			mark := []byte{0, 0, 0, byte(n)}
			if n == len(rest) {
				mark[0] = 0x80
			}
			if _, err := c.conn.Write(append(mark, rest[:n]...)); err != nil {
				t.Error(err)
			}
			rest = rest[n:]
		}
		return nil, true
	})
	if got, err := readAll(t, s.source(longTimeout), "file", 997); err != nil || got != f.data {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestKerberosOnly: an export that wants another login than we have.
func TestKerberosOnly(t *testing.T) {
	s := startFake(t)
	s.set(func(c fakeCall) ([]byte, bool) {
		return ok(func(e *encoder) { fakeRoot.encode(e); e.uint32(2); e.uint32(390003); e.uint32(390004) }), c.name == "MNT"
	})
	_, err := s.source(longTimeout).Stat(t.Context(), "/")
	if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "another kind of login") {
		t.Errorf("%v", err)
	}
}

// TestUnprivileged: Linux answers a call from an ordinary port with EPERM, of which the port may be the reason.
func TestUnprivileged(t *testing.T) {
	s := startFake(t)
	s.set(func(c fakeCall) ([]byte, bool) { return failed(statusPerm), c.name == "FSINFO" })
	if _, err := s.source(longTimeout).Stat(t.Context(), "/"); !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "insecure") {
		t.Errorf("from a privileged port: %v", err)
	}
	if err := syscall.Seteuid(65534); err != nil {
		t.Fatal(err)
	}
	_, err := s.source(longTimeout).Stat(t.Context(), "/")
	if err := syscall.Seteuid(0); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), `the export option "insecure"`) {
		t.Errorf("%v", err)
	}
}
