package nfs

import (
	"encoding/binary"
	"time"
)

// What a server sends, for tests; twintape itself only receives it.

func (e *encoder) bool(v bool) {
	if v {
		e.uint32(1)
	} else {
		e.uint32(0)
	}
}

func (e *encoder) time(t time.Time) {
	e.uint32(uint32(t.Unix()))
	e.uint32(uint32(t.Nanosecond()))
}

func (e *encoder) attr(a *attr) {
	for _, v := range []uint32{a.kind, a.mode, a.nlink, a.uid, a.gid} {
		e.uint32(v)
	}
	for _, v := range []uint64{a.size, a.size, 0, a.fsid, a.fileid} {
		e.uint64(v)
	}
	e.time(a.mtime)
	e.time(a.mtime)
	e.time(a.ctime)
}

func (e *encoder) optionalAttr(a *attr) {
	e.bool(a != nil)
	if a != nil {
		e.attr(a)
	}
}

func (e *encoder) listing(l listing, plus bool) {
	e.optionalAttr(nil)
	e.uint64(l.verifier)
	for i, n := range l.entries {
		e.uint32(1)
		e.uint64(0)
		e.string(n.name)
		if i == len(l.entries)-1 {
			e.uint64(l.cookie)
		} else {
			e.uint64(uint64(i))
		}
		if plus {
			e.optionalAttr(n.attr)
			e.bool(n.fh != "")
			if n.fh != "" {
				n.fh.encode(e)
			}
		}
	}
	e.uint32(0)
	e.bool(l.end)
}

func (e *encoder) lookup(r lookupReply) {
	r.fh.encode(e)
	e.optionalAttr(r.attr)
	e.optionalAttr(nil)
}

func (e *encoder) fsinfo(f fsinfo) {
	e.optionalAttr(nil)
	for _, v := range []uint32{f.maxRead, f.maxRead, 1, f.maxRead, f.maxRead, 1, f.preferredList} {
		e.uint32(v)
	}
	e.b = append(e.b, make([]byte, 8+8+4)...)
}

func (e *encoder) read(a *attr, data string, eof bool) {
	e.optionalAttr(a)
	e.uint32(uint32(len(data)))
	e.bool(eof)
	e.string(data)
}

// ok encodes the results of a procedure that succeeded.
func ok(results func(e *encoder)) []byte {
	e := &encoder{make([]byte, 4)}
	results(e)
	return e.b
}

// failed encodes the results of one that did not.
func failed(s status) []byte {
	e := new(encoder)
	e.uint32(uint32(s))
	e.optionalAttr(nil)
	return e.b
}

// accepted is a whole record of an accepted call.
func accepted(xid uint32, results []byte) []byte {
	e := &encoder{make([]byte, 4)}
	for _, v := range []uint32{xid, rpcReply, rpcAccepted, authNone, 0, acceptSuccess} {
		e.uint32(v)
	}
	return marked(append(e.b, results...))
}

// marked puts a record mark into the first four bytes.
func marked(record []byte) []byte {
	binary.BigEndian.PutUint32(record, lastFragment|uint32(len(record)-4))
	return record
}
