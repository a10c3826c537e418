package nfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeServer is an NFS server of one directory, for faults that a sound server cannot be made to have. It serves MOUNT and
// NFS at one port.
type fakeServer struct {
	t    *testing.T
	port int
	l    net.Listener

	mu    sync.Mutex
	files map[string]*fakeFile
	// hook may answer a call in its own way. It is called with mu held, and returns the results and true, or false.
	hook  func(c fakeCall) ([]byte, bool)
	calls map[string]int // by procedure
}

type fakeFile struct {
	fh   handle
	data string
	attr attr
}

// fakeCall is a call that arrived.
type fakeCall struct {
	conn net.Conn
	xid  uint32
	name string // of the procedure
	args *decoder
	nth  int // of this procedure, from 1
}

func startFake(t *testing.T) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, l: l, port: l.Addr().(*net.TCPAddr).Port, files: make(map[string]*fakeFile), calls: make(map[string]int)}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	return s
}

// source reads from the server; it is closed before the server ends.
func (s *fakeServer) source(timeout time.Duration) *Source {
	s.t.Helper()
	src, err := New(Config{
		Host: "fake", Address: "127.0.0.1", Exports: []string{"/data"}, Root: "/data", Credential: &Credential{}, NFSPort: s.port, MountPort: s.port, Timeout: timeout,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { src.Close() })
	return src
}

func (s *fakeServer) put(name, data string) *fakeFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fakeFile{fh: handle("handle of " + name), data: data}
	f.attr = attr{kind: typeRegular, mode: 0o644, nlink: 1, size: uint64(len(data)), fileid: uint64(len(s.files) + 2), mtime: time.Unix(1, 2), ctime: time.Unix(3, 4)}
	s.files[name] = f
	return f
}

// set changes what the server does.
func (s *fakeServer) set(hook func(c fakeCall) ([]byte, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
	clear(s.calls)
}

func (s *fakeServer) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

func (s *fakeServer) serve(c net.Conn) {
	defer c.Close()
	src := bufio.NewReader(c)
	for {
		var mark [4]byte
		if _, err := io.ReadFull(src, mark[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint32(mark[:])&^lastFragment)
		if _, err := io.ReadFull(src, msg); err != nil {
			return
		}
		d := &decoder{b: msg}
		call := fakeCall{conn: c, xid: d.uint32(), args: d}
		d.take(8) // call, version 2
		program, _, number := d.uint32(), d.uint32(), d.uint32()
		for range 2 { // credential, verifier
			d.uint32()
			d.string(400)
		}
		for _, p := range []procedure{
			procNull, procGetattr, procLookup, procAccess, procReadlink, procRead, procReaddir, procReaddirplus, procFsinfo, procFsstat, procMnt, procExport,
		} {
			if p.program == program && p.number == number {
				call.name = p.name
			}
		}
		if d.err != nil || call.name == "" {
			s.t.Errorf("program %d, procedure %d: %v", program, number, d.err)
			return
		}
		if results := s.answer(call); results != nil {
			if _, err := c.Write(accepted(call.xid, results)); err != nil {
				return
			}
		}
	}
}

const fakeRoot handle = "the root"

func (s *fakeServer) answer(c fakeCall) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[c.name]++
	c.nth = s.calls[c.name]
	if s.hook != nil {
		args := slices.Clone(c.args.b)
		if results, done := s.hook(c); done {
			return results
		}
		c.args.b = args
	}
	if c.name == "NULL" {
		return []byte{}
	}
	if c.name == "MNT" {
		return ok(func(e *encoder) { fakeRoot.encode(e); e.uint32(1); e.uint32(authSys) })
	}
	fh := c.args.handle()
	var f *fakeFile
	for _, other := range s.files {
		if other.fh == fh {
			f = other
		}
	}
	if f == nil && fh != fakeRoot {
		return failed(statusStale)
	}
	root := &attr{kind: typeDir, mode: 0o755, nlink: 2, fileid: 1}
	return ok(func(e *encoder) {
		switch c.name {
		case "FSINFO":
			e.fsinfo(fsinfo{maxRead: 1000, preferredList: 8192})
		case "GETATTR":
			if f == nil {
				e.attr(root)
			} else {
				e.attr(&f.attr)
			}
		case "ACCESS":
			e.optionalAttr(nil)
			e.uint32(accessRead)
		case "LOOKUP":
			if f = s.files[c.args.string(maxName)]; f == nil {
				e.b = failed(statusNoent)
				return
			}
			e.lookup(lookupReply{f.fh, &f.attr})
		case "READ":
			off, count := c.args.uint64(), c.args.uint32()
			if count > 1000 {
				s.t.Errorf("%d bytes are asked for, above the server's limit", count)
			}
			data := f.data[min(off, uint64(len(f.data))):]
			data = data[:min(len(data), int(count))]
			e.read(&f.attr, data, int(off)+len(data) == len(f.data))
		case "READDIRPLUS":
			l := listing{cookie: 77, end: true}
			for name, f := range s.files {
				l.entries = append(l.entries, entry{name, &f.attr, f.fh})
			}
			e.listing(l, true)
		default:
			s.t.Error("nobody taught the server ", c.name)
		}
	})
}

// readAll reads a file of the server through the source, in one call.
func readAll(t *testing.T, src *Source, name string, size int) (string, error) {
	t.Helper()
	f, err := src.Open(t.Context(), "/"+name)
	if err != nil {
		return "", err
	}
	buf := make([]byte, size)
	n, err := f.ReadAt(t.Context(), buf, 0)
	return string(buf[:n]), errors.Join(err, f.Close())
}
