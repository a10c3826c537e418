package ledger_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// certify makes a certificate of its own issuing for a name, and its key.
func certify(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

func TestTLS(t *testing.T) {
	cert, key := certify(t, "localhost")
	otherName, otherKey := certify(t, "elsewhere.example.org")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	serve := func(cert, key string) (*mariadbtest.Server, mycnf.Client) {
		s := mariadbtest.Private(t, "--skip-networking=OFF", "--bind-address=127.0.0.1", fmt.Sprint("--port=", port), "--ssl-cert="+cert, "--ssl-key="+key)
		c := client(t, s.Credentials(t))
		db := s.Open("")
		defer db.Close()
		_, err := db.Exec("ALTER USER " + c.User + "@localhost REQUIRE SSL; ALTER USER " + c.User + "@'%' REQUIRE SSL")
		must(t, err)
		c.Socket, c.Host, c.Port = "", "localhost", port
		return s, c
	}
	s, c := serve(cert, key)
	try := func(what string, fine bool, change func(c *mycnf.Client)) {
		t.Helper()
		c := c
		change(&c)
		l, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{})
		if (err == nil) != fine {
			t.Errorf("%s: %v", what, err)
		}
		if c.SSL && !fine && !strings.Contains(err.Error(), "certificate is not accepted") {
			t.Errorf("%s is refused in these words: %v", what, err)
		}
		if err == nil {
			l.Close()
		}
	}
	c.SSL = true
	createMySQL(t, c, ledger.Options{})
	bare := client(t, mariadbtest.Shared(t).Credentials(t))
	bare.SSL = true
	if _, err := ledger.OpenMySQL(t.Context(), bare, ledger.Options{}); err == nil || !strings.Contains(err.Error(), "the server offers none") {
		t.Errorf("a server without TLS: %v", err)
	}
	try("in the clear", false, func(c *mycnf.Client) { c.SSL = false })
	try("not verified", true, func(*mycnf.Client) {})
	try("its issuer", true, func(c *mycnf.Client) { c.CA = cert })
	try("another issuer", false, func(c *mycnf.Client) { c.CA = otherName })
	try("its name", true, func(c *mycnf.Client) { c.CA, c.VerifyServer = cert, true })
	try("another name", false, func(c *mycnf.Client) { c.CA, c.VerifyServer, c.Host = cert, true, "127.0.0.1" })
	must(t, s.Stop())
	_, c = serve(otherName, otherKey)
	c.SSL = true
	createMySQL(t, c, ledger.Options{})
	try("another's certificate of the same issuer", true, func(c *mycnf.Client) { c.CA = otherName })
	try("another's certificate", false, func(c *mycnf.Client) { c.CA, c.VerifyServer = otherName, true })
}
