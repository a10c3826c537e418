package nfs

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
)

// TestCancelledInTheMiddle: a read that is cancelled while its data comes in gives its memory back only when nobody writes to
// it any more: the rest came, or the connection is dead.
func TestCancelledInTheMiddle(t *testing.T) {
	for _, restComes := range []bool{true, false} {
		ours, theirs := net.Pipe() // a write to it returns when the other side took it all
		var wg sync.WaitGroup
		c := newConn(ours, new(Credential).encode("here"), longTimeout, func(work func()) bool { wg.Go(work); return true })
		memory := make([]byte, 8000)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- c.call(ctx, procRead, readArgs("handle", 0, len(memory)), &call{into: memory})
		}()
		request := make([]byte, 1000)
		n, err := theirs.Read(request)
		if err != nil || n < 8 {
			t.Fatal(n, err)
		}
		answer := accepted(c.first, ok(func(e *encoder) { e.read(nil, text(8000), true) }))
		// When the second write is taken, the first was looked at.
		for _, part := range [][]byte{answer[:100], answer[100:200]} {
			if _, err := theirs.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if restComes {
			if _, err := theirs.Write(answer[200:]); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		clear(memory) // the race detector sees who else is there
		if c.IsDead() == restComes {
			t.Errorf("the rest comes: %v, the connection is dead: %v", restComes, c.IsDead())
		}
		c.Kill(errors.New("over"))
		wg.Wait()
		if !bytes.Equal(memory, make([]byte, len(memory))) {
			t.Error("memory was written after the call")
		}
		theirs.Close()
	}
}
