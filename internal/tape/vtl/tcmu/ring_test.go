package tcmu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"twintape/internal/tape/vtl"
)

// The shape of the rings that the tests play the kernel of.
const (
	testRing = 128 // where the entries begin
	testSize = 1024
	testData = testRing + testSize
	testAll  = testData + 4096
)

// kernel is the other side of a ring.
type kernel struct {
	t   *testing.T
	mem []byte
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{t: t, mem: make([]byte, testAll)}
	le := binary.LittleEndian
	le.PutUint16(k.mem[mailboxVersion:], version)
	le.PutUint32(k.mem[ringOffset:], testRing)
	le.PutUint32(k.mem[ringSize:], testSize)
	return k
}

func (k *kernel) head() uint32 { return binary.LittleEndian.Uint32(k.mem[headOffset:]) }

// entry adds an entry of an operation and a size, and returns its bytes.
func (k *kernel) entry(op uint32, size int) []byte {
	at := k.head()
	e := k.mem[testRing+at:][:size]
	clear(e)
	binary.LittleEndian.PutUint32(e, uint32(size)|op)
	binary.LittleEndian.PutUint32(k.mem[headOffset:], (at+uint32(size))%testSize)
	return e
}

// command adds a command whose data lies in pieces, given by where and how long.
func (k *kernel) command(cdb []byte, pieces ...[2]int) []byte {
	size := max(entrySize, vectorOffset+vectorSize*len(pieces)+16+7) &^ 7
	e := k.entry(opCommand, size)
	le := binary.LittleEndian
	le.PutUint32(e[vectorCount:], uint32(len(pieces)))
	for i, p := range pieces {
		le.PutUint64(e[vectorOffset+vectorSize*i:], uint64(p[0]))
		le.PutUint64(e[vectorOffset+vectorSize*i+8:], uint64(p[1]))
	}
	at := testAll - 16
	copy(k.mem[at:], cdb)
	le.PutUint64(e[cdbOffset:], uint64(at))
	return e
}

func (k *kernel) ring() *ring {
	k.t.Helper()
	r, err := newRing(k.mem)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// Commands come in order, with their data from wherever it lies, around the ring's end and past what is no command.
func TestRing(t *testing.T) {
	k := newKernel(t)
	r := k.ring()
	none := func([]byte, []byte) vtl.Answer { t.Error("there was no command"); return vtl.Answer{} }
	if more, err := r.next(none, nil); more || err != nil {
		t.Fatalf("an empty ring has %v, %v", more, err)
	}
	unreset := func() { t.Error("there was no reset") }
	for round := range 40 {
		if room := testSize - int(k.head()); room < 200 {
			k.entry(opPad, room)
			if more, err := r.next(none, unreset); !more || err != nil {
				t.Fatalf("padding is %v, %v", more, err)
			}
		}
		if round%5 == 0 {
			k.entry(opManage, 16)[manageType] = 1 // abort a task
			if more, err := r.next(none, unreset); !more || err != nil {
				t.Fatalf("a task management function is %v, %v", more, err)
			}
			k.entry(opManage, 16)[manageType] = lunReset
			resets := 0
			if more, err := r.next(none, func() { resets++ }); !more || err != nil || resets != 1 {
				t.Fatalf("a reset is %v, %v, and comes %d times", more, err, resets)
			}
		}
		// A command that brings data, in two pieces that lie the wrong way round.
		copy(k.mem[testData+500:], "abc")
		copy(k.mem[testData:], "defg")
		e := k.command([]byte{0x0A, byte(round)}, [2]int{testData + 500, 3}, [2]int{testData, 4})
		more, err := r.next(func(cdb, data []byte) vtl.Answer {
			if cdb[0] != 0x0A || cdb[1] != byte(round) || string(data) != "abcdefg" {
				t.Errorf("round %d: the command is % X with %q", round, cdb, data)
			}
			return vtl.Answer{Status: vtl.CheckCondition, Sense: []byte{0x70, 1, 2, byte(round)}}
		}, unreset)
		if !more || err != nil {
			t.Fatalf("round %d: %v, %v", round, more, err)
		}
		if e[answerStatus] != vtl.CheckCondition || !bytes.Equal(e[answerSense:answerSense+5], []byte{0x70, 1, 2, byte(round), 0}) {
			t.Errorf("round %d: the answer is % X", round, e[:entrySize])
		}
		// One that fetches some; what is short is zeros.
		k.command([]byte{0x08}, [2]int{testData + 500, 3}, [2]int{testData, 4})
		e = k.mem[testRing+int(k.head())-entrySize:][:entrySize]
		if more, err = r.next(func(_, data []byte) vtl.Answer { return vtl.Answer{N: copy(data, "HIJKL")} }, unreset); !more || err != nil {
			t.Fatalf("round %d: %v, %v", round, more, err)
		}
		if string(k.mem[testData+500:][:3])+string(k.mem[testData:][:4]) != "HIJKL\x00\x00" {
			t.Errorf("round %d: fetched were %q and %q", round, k.mem[testData+500:][:3], k.mem[testData:][:4])
		}
		if e[entryFlags]&flagLength == 0 || binary.LittleEndian.Uint32(e[answerLength:]) != 5 || e[answerStatus] != vtl.Good {
			t.Errorf("round %d: the answer is % X", round, e)
		}
	}
	if more, err := r.next(none, unreset); more || err != nil {
		t.Errorf("at the end: %v, %v", more, err)
	}
}

// A ring that makes no sense is an error, not a crash.
func TestBrokenRing(t *testing.T) {
	le := binary.LittleEndian
	for name, breakIt := range map[string]func(k *kernel, e []byte){
		"no length":        func(_ *kernel, e []byte) { le.PutUint32(e, opCommand) },
		"too long":         func(_ *kernel, e []byte) { le.PutUint32(e, testSize+8|opCommand) },
		"too short":        func(_ *kernel, e []byte) { le.PutUint32(e, 64|opCommand) },
		"many pieces":      func(_ *kernel, e []byte) { le.PutUint32(e[vectorCount:], 1<<31) },
		"a piece beyond":   func(_ *kernel, e []byte) { le.PutUint64(e[vectorOffset+8:], testAll) },
		"a piece far away": func(_ *kernel, e []byte) { le.PutUint64(e[vectorOffset:], 1<<63) },
		"the CDB beyond":   func(_ *kernel, e []byte) { le.PutUint64(e[cdbOffset:], testAll) },
		"the head beyond":  func(k *kernel, _ []byte) { le.PutUint32(k.mem[headOffset:], testSize) },
		"the tail beyond":  func(k *kernel, _ []byte) { le.PutUint32(k.mem[tailOffset:], testSize) },
	} {
		k := newKernel(t)
		r := k.ring()
		breakIt(k, k.command([]byte{0x12}, [2]int{testData, 8}))
		if _, err := r.next(func([]byte, []byte) vtl.Answer { return vtl.Answer{} }, func() {}); !errors.Is(err, errRing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, breakIt := range map[string]func(mem []byte){
		"another version":  func(mem []byte) { mem[mailboxVersion] = 3 },
		"no entries":       func(mem []byte) { le.PutUint32(mem[ringSize:], 0) },
		"entries beyond":   func(mem []byte) { le.PutUint32(mem[ringSize:], testAll) },
		"crooked entries":  func(mem []byte) { le.PutUint32(mem[ringOffset:], testRing+1) },
		"entries far away": func(mem []byte) { le.PutUint32(mem[ringOffset:], 1<<32-8) },
	} {
		k := newKernel(t)
		breakIt(k.mem)
		if _, err := newRing(k.mem); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if _, err := newRing(nil); err == nil {
		t.Error("no memory is no error")
	}
}

func FuzzRing(f *testing.F) {
	k := newKernel(nil)
	k.command([]byte{0x0A}, [2]int{testData, 8}, [2]int{testData + 64, 8})
	k.entry(opPad, 16)
	f.Add(k.mem)
	f.Fuzz(func(t *testing.T, mem []byte) {
		mem = append(make([]byte, 0, len(mem)+8), mem...) // aligned
		r, err := newRing(mem)
		if err != nil {
			return
		}
		for range 64 {
			more, err := r.next(func(cdb, data []byte) vtl.Answer {
				if len(cdb) != longestCDB || len(data) > len(mem) {
					t.Fatalf("a command of %d bytes with %d bytes of data", len(cdb), len(data))
				}
				return vtl.Answer{N: len(data)}
			}, func() {})
			if err != nil || !more {
				return
			}
		}
	})
}
