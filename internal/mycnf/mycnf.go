// Package mycnf reads how to reach a MariaDB or MySQL server from the [client] section of an option file, as their own clients
// do, and reaches it. No error and no text that it makes holds a password. What it returns may be used concurrently.
package mycnf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Client is a [client] section.
type Client struct {
	Host     string
	Port     int // 0 for the default
	Socket   string
	User     string
	Password string
	Database string

	SSL           bool // TLS is wanted; the keys below imply it
	CA, Cert, Key string
	VerifyServer  bool // the certificate must be of Host too
}

// maxSize is more than any such file has.
const maxSize = 1 << 20

// Read reads a file that only its owner can read. Relative paths in it are relative to its folder.
func Read(file string) (Client, error) { return readAs(file, Parse) }

// ReadServer is Read of a file that need not name a database.
func ReadServer(file string) (Client, error) { return readAs(file, parse) }

func readAs(file string, parse func(string) (Client, error)) (Client, error) {
	c, err := read(file, parse)
	if err != nil {
		return Client{}, fmt.Errorf("credentials file %s: %w", file, err)
	}
	return c, nil
}

func read(file string, parse func(string) (Client, error)) (Client, error) {
	// What is no regular file is not waited for: opening a pipe would.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Client{}, errors.New("there is no such file: write one with a [client] section, and `chmod 600` it")
	}
	if err != nil {
		return Client{}, errors.Unwrap(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Client{}, errors.Unwrap(err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return Client{}, errors.New("is no regular file")
	case info.Size() == 0:
		return Client{}, errors.New("is empty: it needs a [client] section")
	case mode.Perm()&0o077 != 0:
		return Client{}, fmt.Errorf("others than its owner can get at it (mode %04o): `chmod 600` it, and change the password if it was read", mode.Perm())
	case info.Size() > maxSize:
		return Client{}, fmt.Errorf("has %d bytes: that is no option file", info.Size())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return Client{}, err
	}
	c, err := parse(string(data))
	if err != nil {
		return Client{}, err
	}
	dir := filepath.Dir(file)
	for _, p := range []*string{&c.Socket, &c.CA, &c.Cert, &c.Key} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

// defaultSocket is where Debian's server listens.
const defaultSocket = "/run/mysqld/mysqld.sock"

// Address is where the server listens, for net.Dial: "unix" and a path, or "tcp" and host:port. As for other clients,
// localhost is the socket.
func (c Client) Address() (network, address string) {
	if c.Host == "" || c.Host == "localhost" {
		if c.Socket == "" && c.Port == 0 {
			return "unix", defaultSocket
		}
		if c.Socket != "" {
			return "unix", c.Socket
		}
	}
	host, port := c.Host, c.Port
	if host == "" {
		host = "localhost"
	}
	if port == 0 {
		port = 3306
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(port))
}

// String names the database, without a password.
func (c Client) String() string {
	_, address := c.Address()
	return fmt.Sprintf("%s on %s", c.Database, address)
}

// TLS is how to talk to the server; nil if in the clear. Without a CA and without ssl-verify-server-cert the server is not
// verified, as with other clients.
func (c Client) TLS() (*tls.Config, error) {
	if !c.SSL {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("ssl-ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl-ca: %s holds no certificate", c.CA)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("ssl-cert and ssl-key belong together: give both or none")
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("ssl-cert: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	if c.VerifyServer {
		return out, nil
	}
	out.InsecureSkipVerify = true // the chain is checked below where there is a CA; the name is not
	if out.RootCAs != nil {
		out.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: out.RootCAs, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	}
	return out, nil
}
