package sftp

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/user"
	"strings"
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
	addr := d.cfg.Address
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), "22")
	}
	login, err := d.login()
	if err != nil {
		return nil, err
	}
	auth, release, err := authMethod(ctx, d.cfg.IdentityFile)
	if err != nil {
		return nil, err
	}
	defer release()
	keys, err := readHostKeys(d.cfg.KnownHosts, addr)
	if err != nil {
		return nil, err
	}
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	// Everything until the session stands ends with ctx, because the socket does.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	config := &ssh.ClientConfig{
		User:              login,
		Auth:              []ssh.AuthMethod{auth},
		HostKeyCallback:   keys.check,
		HostKeyAlgorithms: keys.algorithms(),
	}
	config.Ciphers = ciphers
	sshConn, chans, reqs, err := ssh.NewClientConn(socket, addr, config)
	if err != nil {
		socket.Close()
		return nil, explainHandshake(err, login, addr, d.cfg.IdentityFile, keys)
	}
	c := &conn{ssh: ssh.NewClient(sshConn, chans, reqs), timeout: d.cfg.Timeout, spawn: spawn, start: time.Now(), dead: make(chan struct{})}
	if err := c.startSession(); err != nil {
		c.ssh.Close()
		return nil, fmt.Errorf("%s does not offer SFTP to %s: %w", addr, login, err)
	}
	if c.names, err = d.hostNames(c.sftp); err != nil || !stop() {
		c.ssh.Close()
		return nil, fmt.Errorf("%s: connection lost at once: %w", addr, errOr(err, context.Cause(ctx)))
	}
	c.watch()
	return c, nil
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (d *dialer) login() (string, error) {
	if d.cfg.User != "" {
		return d.cfg.User, nil
	}
	me, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("no user is configured, and who runs this is unknown: %w", err)
	}
	return me.Username, nil
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
