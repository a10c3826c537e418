package nfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// procedure is one remote procedure.
type procedure struct {
	program, version, number uint32
	name                     string
}

const (
	portmapProgram = 100000
	nfsProgram     = 100003
	mountProgram   = 100005
)

// ONC RPC version 2 (RFC 5531).
const (
	rpcCall, rpcReply          = 0, 1
	rpcAccepted, rpcDenied     = 0, 1
	acceptSuccess              = 0
	acceptProgUnavail          = 1
	acceptProgMismatch         = 2
	rejectMismatch, rejectAuth = 0, 1
	authNone, authSys          = 0, 1
	maxVerifier                = 400
)

// lastFragment is the bit of a record mark that says that no fragment follows.
const lastFragment = 1 << 31

// Credential is who calls, as AUTH_SYS tells it. The server believes it.
type Credential struct {
	UID, GID uint32
	GIDs     []uint32 // further groups; the protocol carries 16
}

// maxGIDs is how many further groups AUTH_SYS carries.
const maxGIDs = 16

// encode returns an AUTH_SYS credential with its flavor and length.
func (c Credential) encode(machine string) []byte {
	var body encoder
	body.uint32(0) // a stamp that nobody looks at
	body.string(machine[:min(len(machine), 255)])
	body.uint32(c.UID)
	body.uint32(c.GID)
	gids := c.GIDs[:min(len(c.GIDs), maxGIDs)]
	body.uint32(uint32(len(gids)))
	for _, g := range gids {
		body.uint32(g)
	}
	var e encoder
	e.uint32(authSys)
	e.string(string(body.b))
	return e.b
}

// message returns a call as one record with its mark.
func message(xid uint32, p procedure, credential []byte, args func(*encoder)) []byte {
	e := encoder{make([]byte, 4, 256)}
	for _, v := range []uint32{xid, rpcCall, 2, p.program, p.version, p.number} {
		e.uint32(v)
	}
	e.b = append(e.b, credential...)
	e.uint32(authNone) // the verifier
	e.uint32(0)
	if args != nil {
		args(&e)
	}
	binary.BigEndian.PutUint32(e.b, lastFragment|uint32(len(e.b)-4))
	return e.b
}

// refusal is the error of a call that the server's RPC layer did not take.
type refusal struct {
	text        string
	programGone bool // the program or this version of it is not served there
	auth        bool // the credential, or where it comes from, is not enough
}

func (r *refusal) Error() string { return r.text }

// authWords are the reasons of RFC 5531 for refusing a credential.
var authWords = map[uint32]string{
	1: "AUTH_BADCRED", 2: "AUTH_REJECTEDCRED", 3: "AUTH_BADVERF", 4: "AUTH_REJECTEDVERF", 5: "AUTH_TOOWEAK", 6: "AUTH_INVALIDRESP", 7: "AUTH_FAILED",
}

// record reads one RPC record from the stream, fragment after fragment, and ends with io.EOF behind the last.
type record struct {
	src  *bufio.Reader
	left int  // of the fragment
	last bool // no fragment follows
}

func (r *record) Read(p []byte) (int, error) {
	if r.left == 0 {
		if r.last {
			return 0, io.EOF
		}
		var mark [4]byte
		if _, err := io.ReadFull(r.src, mark[:]); err != nil {
			return 0, cut(err)
		}
		v := binary.BigEndian.Uint32(mark[:])
		r.left, r.last = int(v&^lastFragment), v&lastFragment != 0
		if r.left == 0 {
			return 0, malformed("an empty fragment")
		}
	}
	n, err := r.src.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, cut(err)
}

// cut tells the end of the stream from the end of a record.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the server closed the connection in the middle of an answer")
	}
	return err
}

// end says that nothing of the record is left.
func (r *record) end() error {
	if r.left > 0 || !r.last {
		return malformed("bytes behind the end of a reply")
	}
	return nil
}

// fill reads exactly into p.
func (r *record) fill(p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return malformed("a record that ends too early")
	}
	return err
}

// words reads n words.
func (r *record) words(n int) ([]uint32, error) {
	var b [84]byte
	if err := r.fill(b[:4*n]); err != nil {
		return nil, err
	}
	words := make([]uint32, n)
	for i := range words {
		words[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return words, nil
}

// rest reads to the record's end, which must come within limit bytes.
func (r *record) rest(limit int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(min(r.left, limit) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, malformed("more than %d bytes in answer to a call", limit)
	}
	return b.Bytes(), nil
}

// head reads what stands before a procedure's own results. It returns a *refusal if there are none.
func (r *record) head() error {
	stat, err := r.words(1)
	if err != nil {
		return err
	}
	switch stat[0] {
	case rpcAccepted:
		return r.accepted()
	case rpcDenied:
		return r.denied()
	}
	return malformed("a reply of kind %d", stat[0])
}

func (r *record) accepted() error {
	verifier, err := r.words(2)
	if err != nil {
		return err
	}
	if verifier[1] > maxVerifier {
		return malformed("a verifier of %d bytes", verifier[1])
	}
	n := int(verifier[1])
	if err := r.fill(make([]byte, n+padding(n))); err != nil {
		return err
	}
	stat, err := r.words(1)
	if err != nil {
		return err
	}
	switch stat[0] {
	case acceptSuccess:
		return nil
	case acceptProgUnavail:
		return &refusal{text: "the server does not serve this program", programGone: true}
	case acceptProgMismatch:
		v, err := r.words(2)
		if err != nil {
			return err
		}
		return &refusal{text: fmt.Sprintf("the server serves versions %d to %d of this program", v[0], v[1]), programGone: true}
	case 3, 4, 5:
		return &refusal{text: "the server says: " + []string{"no such procedure", "garbage arguments", "system error"}[stat[0]-3]}
	}
	return malformed("an accepted call with status %d", stat[0])
}

func (r *record) denied() error {
	v, err := r.words(2)
	if err != nil {
		return err
	}
	switch v[0] {
	case rejectMismatch:
		high, err := r.words(1)
		if err != nil {
			return err
		}
		return &refusal{text: fmt.Sprintf("the server speaks versions %d to %d of ONC RPC, not 2", v[1], high[0])}
	case rejectAuth:
		word := authWords[v[1]]
		if word == "" {
			word = fmt.Sprintf("reason %d", v[1])
		}
		return &refusal{text: "the server does not accept the credential (" + word + ")", auth: true}
	}
	return malformed("a denied call with status %d", v[0])
}
