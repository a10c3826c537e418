package sftp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"twintape/sources"
	"twintape/sources/pool"
)

type fakeTransport struct{ ssh.Conn }

func (fakeTransport) Close() error { return nil }

// A call whose connection ended says that the host is unavailable, and nothing of a file's end.
func TestConnectionEnds(t *testing.T) {
	here, _ := net.Pipe()
	c := &conn{socket: here, ssh: &ssh.Client{Conn: fakeTransport{}}, timeout: time.Minute, start: time.Now(), dead: make(chan struct{})}
	err := c.verdict(fmt.Errorf("failed to send packet: %w", io.EOF))
	if !errors.Is(err, sources.ErrUnavailable) || !pool.WorthRepeating(err) || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "failed to send packet") {
		t.Errorf("the error is %v", err)
	}
}
