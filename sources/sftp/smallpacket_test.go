package sftp_test

import (
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"twintape/sources"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sftpserver"
	"twintape/sources/sourcetest"
)

// TestConformanceSmallPackets: a server without the limits extension, that sends no more than 32 KiB in one reply.
func TestConformanceSmallPackets(t *testing.T) {
	private, key := newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	identity := writeFile(t, filepath.Join(t.TempDir(), "identity"), string(pem.EncodeToMemory(block)))
	sourcetest.Run(t, func(t *testing.T, root string) sources.Source {
		s, err := sftpserver.Start(t.Context(), sftpserver.Config{Root: root, Addr: "127.0.0.1:0", Authorized: key})
		if err != nil {
			t.Fatal(err)
		}
		src := sftp.New(sftp.Config{
			Host: sourcetest.Host, Address: s.Addr, User: "anyone", IdentityFile: identity, Timeout: 20 * time.Second,
			KnownHosts: writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), knownhosts.Line([]string{s.Addr}, s.HostKey)+"\n"),
		})
		return served{src, s}
	})
}

// served is a source with a server of its own.
type served struct {
	sources.Source
	server *sftpserver.Server
}

func (s served) Close() error {
	err := s.Source.Close()
	return errors.Join(err, s.server.Close())
}

// TestServerThatPromisesTooMuch announces reads of 255 KiB and answers with 32 KiB: that must not look like a file's end.
func TestServerThatPromisesTooMuch(t *testing.T) {
	root, data := bigFile(t, 3<<20+5)
	private, hostKey := newKey(t)
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	identityKey, _ := newKey(t)
	block, err := ssh.MarshalPrivateKey(identityKey, "")
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		socket, err := listener.Accept()
		if err != nil {
			return
		}
		defer socket.Close()
		conn, channels, requests, err := ssh.NewServerConn(socket, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		defer conn.Close()
		for offered := range channels {
			channel, requests, err := offered.Accept()
			if err != nil {
				return
			}
			(<-requests).Reply(true, nil) // the subsystem
			promise(channel, root)
		}
	}()
	src := sftp.New(sftp.Config{
		Host: sourcetest.Host, Address: listener.Addr().String(), User: "anyone", Root: root, Timeout: 20 * time.Second, Connections: 1,
		IdentityFile: writeFile(t, filepath.Join(t.TempDir(), "identity"), string(pem.EncodeToMemory(block))),
		KnownHosts:   writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), knownhosts.Line([]string{listener.Addr().String()}, hostKey)+"\n"),
	})
	f := openBig(t, src)
	buf := make([]byte, len(data)+1)
	n, err := f.ReadAt(t.Context(), buf, 0)
	if n != len(data) || err != io.EOF || string(buf[:n]) != string(data) {
		t.Errorf("read %d of %d bytes, %v", n, len(data), err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	listener.Close()
	<-served
}

// promise answers the handshake and the request for limits itself, and leaves the rest to the library's server.
func promise(channel ssh.Channel, root string) {
	packet := func() {
		var length [4]byte
		if _, err := io.ReadFull(channel, length[:]); err == nil {
			io.CopyN(io.Discard, channel, int64(binary.BigEndian.Uint32(length[:])))
		}
	}
	send := func(body []byte) {
		channel.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	}
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	packet()
	send(append(append([]byte{2, 0, 0, 0, 3}, text("limits@openssh.com")...), text("1")...))
	packet()
	limits := []byte{201, 0, 0, 0, 0}
	for _, v := range []uint64{262144, 261120, 261120, 100} {
		limits = binary.BigEndian.AppendUint64(limits, v)
	}
	send(limits)
	server, err := client.NewServer(channel, client.ReadOnly(), client.WithServerWorkingDirectory(root)) // 32 KiB a reply
	if err == nil {
		server.Serve()
	}
	channel.Close()
}
