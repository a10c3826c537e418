// Package sftpserver serves one folder over SSH, read-only, to the holder of one key. It stands in for a host in the
// demonstration and in tests: no account, no shell, nothing but SFTP.
package sftpserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// handshakeTimeout is how long a client may take to log in.
const handshakeTimeout = 30 * time.Second

// Config says what is served, where, and to whom.
type Config struct {
	Root       string        // the folder that clients see as "/"; symlinks do not lead out of it
	Addr       string        // host:port to listen on; port 0 takes a free one
	Authorized ssh.PublicKey // who holds its private half may log in, under any name
}

// Server is a running server. Its methods may be called concurrently.
type Server struct {
	Addr    string        // where it listens, with the port that was taken
	HostKey ssh.PublicKey // made anew by each Start

	listener net.Listener
	root     *os.Root
	config   *ssh.ServerConfig
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Start serves until ctx ends or Close is called. An error says that the folder cannot be opened or the address is taken.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("SFTP server: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("SFTP server: %w", err)
	}
	authorized := string(cfg.Authorized.Marshal())
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != authorized {
			return nil, errors.New("this key may not log in")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(signer)
	s := &Server{Addr: listener.Addr().String(), HostKey: signer.PublicKey(), listener: listener, root: root, config: config}
	ctx, s.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { listener.Close() })
	s.wg.Go(func() { s.accept(ctx) })
	return s, nil
}

// Close ends all connections and waits until they are gone.
func (s *Server) Close() error {
	s.cancel()
	s.wg.Wait()
	return s.root.Close()
}

func (s *Server) accept(ctx context.Context) {
	for {
		socket, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				socket.Close()
			}
			return
		}
		if err != nil {
			// Out of descriptors, or a client that left again: neither ends the service.
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		s.wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { socket.Close() })
			defer stop()
			defer socket.Close()
			s.serve(socket)
		})
	}
}

// serve serves one connection to its end. What goes wrong with it is the client's to tell.
func (s *Server) serve(socket net.Conn) {
	_ = socket.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, channels, requests, err := ssh.NewServerConn(socket, s.config)
	if err != nil {
		return
	}
	_ = socket.SetDeadline(time.Time{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.session(channel, requests) })
	}
}

// session waits for the client to ask for SFTP, and serves it.
func (s *Server) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		var subsystem struct{ Name string }
		ok := req.Type == "subsystem" && ssh.Unmarshal(req.Payload, &subsystem) == nil && subsystem.Name == "sftp"
		if err := req.Reply(ok, nil); err != nil || !ok {
			continue
		}
		var wg sync.WaitGroup
		wg.Go(func() { ssh.DiscardRequests(requests) })
		t := &tree{s.root}
		server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: t, FilePut: t, FileCmd: t, FileList: t})
		var status struct{ Status uint32 }
		if err := server.Serve(); err != nil && err != io.EOF {
			status.Status = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		channel.Close()
		wg.Wait()
		return
	}
}
