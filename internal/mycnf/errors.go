package mycnf

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
)

// Numbers of the servers' errors that callers decide on, or that are explained.
const (
	DuplicateKey   = 1062
	CommandDenied  = 1142
	LockTimeout    = 1205
	ReadOnly       = 1290
	ReadOnlyEngine = 1836

	tooManyConnections = 1040
	dbAccessDenied     = 1044
	accessDenied       = 1045
	badDatabase        = 1049
	wsrepNotReady      = 1047
	shutdown           = 1053
	diskFull           = 1021
	writeFailed        = 1026
	tableFull          = 1114
	hostBlocked        = 1129
	hostDenied         = 1130
	columnDenied       = 1143
	tooManyOfUser      = 1203
	deadlock           = 1213
	accessDeniedBare   = 1698
	killed             = 1927
	idle               = 4031
)

// Number is the server's number of an error; 0 if it is none of a server.
func Number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// Passing tells whether an error passes, so that the same may be tried again: at once, or after a while.
func Passing(err error) (again, later bool) {
	switch Number(err) {
	case deadlock:
		return true, false
	case tooManyConnections, tooManyOfUser, wsrepNotReady, shutdown, LockTimeout, killed, idle:
		return true, true
	}
	var network *net.OpError
	lost := errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.As(err, &network)
	return lost, lost
}

// Explain says what to do about a server's error where that is known.
func Explain(err error) error {
	switch Number(err) {
	case diskFull, tableFull, writeFailed:
		return fmt.Errorf("its disk is full; make room and try again: %w", err)
	case ReadOnly, ReadOnlyEngine:
		return fmt.Errorf("the server takes no writes; name the one that does in the credentials file: %w", err)
	case accessDenied, accessDeniedBare, dbAccessDenied:
		return fmt.Errorf("the server does not let this user in; look at user and password in the credentials file (in quotes, if it holds a #), and at the user's rights: %w", err)
	case hostDenied, hostBlocked:
		return fmt.Errorf("the server lets no user in from this machine; create the user for it ('user'@'host'), or `mariadb-admin flush-hosts` where the server says so: %w", err)
	case CommandDenied, columnDenied:
		return fmt.Errorf("the user lacks a right there; docs/operating.md lists those that it needs: %w", err)
	case tooManyConnections, tooManyOfUser:
		return fmt.Errorf("the server has as many connections as it allows; see who has them (SHOW PROCESSLIST), or raise max_connections: %w", err)
	case badDatabase:
		return fmt.Errorf("the server has no such database; create it, or correct the credentials file: %w", err)
	}
	if errors.Is(err, mysql.ErrNoTLS) {
		return fmt.Errorf("TLS is asked for in the credentials file, and the server offers none; give it a certificate (ssl_cert, ssl_key): %w", err)
	}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	if errors.As(err, &certificate) || errors.As(err, &authority) {
		return fmt.Errorf("the server's certificate is not accepted, and nothing was sent to it; look at host, ssl-ca and ssl-verify-server-cert in the credentials file, and at the certificate: %w", err)
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return fmt.Errorf("the server does not answer; start it, or correct host, port or socket in the credentials file: %w", err)
	}
	return err
}
