package sftp

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// ciphers has the fast ones first: AES-GCM runs in hardware and needs no separate MAC.
var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// dialer makes connections to one host.
type dialer struct {
	cfg   Config
	mu    sync.Mutex
	names *names // read by the first connection
}

// dial connects, checks the host's key, logs in and starts SFTP. The files it needs are read anew each time, so what was
// mended in them counts at the next attempt.
func (d *dialer) dial(ctx context.Context, spawn func(work func()) bool) (*conn, error) {
	t, err := d.cfg.resolve()
	if err != nil {
		return nil, err
	}
	way, err := d.way(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, h := range way {
			h.release()
		}
	}()
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", way[0].addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	// Everything until the session stands ends with ctx, because the socket does.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	client, err := travel(ctx, socket, way)
	if err != nil {
		socket.Close()
		return nil, err
	}
	c := &conn{socket: socket, ssh: client, timeout: d.cfg.Timeout, spawn: spawn, start: time.Now(), dead: make(chan struct{})}
	if err := c.startSession(); err != nil {
		c.hangUp()
		return nil, fmt.Errorf("%s does not offer SFTP to %s: %w", t.addr, t.login, err)
	}
	if c.names, err = d.hostNames(c.sftp); err != nil || !stop() {
		c.hangUp()
		return nil, fmt.Errorf("%s: connection lost at once: %w", t.addr, errOr(err, context.Cause(ctx)))
	}
	c.watch()
	return c, nil
}

// hop is a server that is to be logged in to.
type hop struct {
	*target
	auth    ssh.AuthMethod
	release func()
	keys    *hostKeys
}

// way makes ready for all servers that are logged in to, one through the other, the host itself last. What is wrong on
// this side is told before any of them is contacted.
func (d *dialer) way(ctx context.Context, t *target) (way []hop, err error) {
	var targets []*target
	for _, jump := range t.jumps {
		on, err := d.cfg.hop(jump)
		if err != nil {
			return nil, err
		}
		targets = append(targets, on)
	}
	for _, t := range append(targets, t) {
		h := hop{target: t}
		if h.keys, err = readHostKeys(t.knownHosts, t.addr); err == nil {
			h.auth, h.release, err = authMethod(ctx, t)
		}
		if err != nil {
			for _, ready := range way {
				ready.release()
			}
			return nil, err
		}
		way = append(way, h)
	}
	return way, nil
}

// travel logs in to each server on the way, and from it connects to the next.
func travel(ctx context.Context, socket net.Conn, way []hop) (client *ssh.Client, err error) {
	for i, h := range way {
		if i > 0 {
			if socket, err = client.DialContext(ctx, "tcp", h.addr); err != nil {
				return nil, fmt.Errorf("%s cannot connect to %s: %w", way[i-1].addr, h.addr, err)
			}
		}
		config := &ssh.ClientConfig{
			User:              h.login,
			Auth:              []ssh.AuthMethod{h.auth},
			HostKeyCallback:   h.keys.check,
			HostKeyAlgorithms: h.keys.algorithms(),
		}
		config.Ciphers = ciphers
		sshConn, chans, reqs, err := ssh.NewClientConn(socket, h.addr, config)
		if err != nil {
			return nil, explainHandshake(err, h)
		}
		client = ssh.NewClient(sshConn, chans, reqs)
	}
	return client, nil
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (d *dialer) hostNames(client *sftp.Client) (*names, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names == nil {
		read, err := readNames(client)
		if err != nil {
			return nil, err
		}
		d.names = read
	}
	return d.names, nil
}

// startSession starts the SFTP subsystem and learns how large its packets may be.
func (c *conn) startSession() error {
	channel, requests, err := c.ssh.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	// Both end with the channel. What the server prints, unread, would use up the channel's window.
	c.spawn(func() { ssh.DiscardRequests(requests) })
	c.spawn(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) })
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the SSH server refuses the sftp subsystem")
	}
	stream, packet, err := negotiate(channel, func() { c.alive.Store(int64(time.Since(c.start))) })
	if err != nil {
		return err
	}
	c.packet = packet
	c.sftp, err = sftp.NewClientPipe(stream, stream, sftp.MaxPacketUnchecked(packet))
	return err
}
