package mycnf

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"
)

// How long a dial may take, and what was sent may go unanswered by the server's machine.
const (
	dialTime   = 10 * time.Second
	silentTime = 45 * time.Second
)

// Open returns the database, to which nothing is connected yet. Each connection begins with the statements; they age out, so that
// what forgets idle ones, and clusters, do no harm. Texts are read and compared as the collation says; under "binary" they are bytes
// both ways. An UPDATE counts the rows it is about, also those that it leaves as they are.
func (c Client) Open(collation string, statements ...string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = c.User, c.Password, c.Database
	cfg.Net, cfg.Addr = c.Address()
	cfg.Collation = collation
	cfg.ClientFoundRows = true
	cfg.Logger = silent{} // errors are returned
	var err error
	if cfg.TLS, err = c.TLS(); err != nil {
		return nil, err
	}
	dialer := net.Dialer{
		Timeout:         dialTime,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control: func(network, _ string, raw syscall.RawConn) (err error) {
			if network == "unix" {
				return nil
			}
			return errors.Join(raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentTime.Milliseconds()))
			}), err)
		},
	}
	cfg.DialFunc = dialer.DialContext
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector{inner, statements})
	// What stands between, and the server, forget connections that idle; a cluster moves them only when they are made anew.
	db.SetConnMaxLifetime(5 * time.Minute)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetMaxIdleConns(4)
	return db, nil
}

// connector makes connections that begin with the statements.
type connector struct {
	driver.Connector
	statements []string
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range c.statements {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, s, nil); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

type silent struct{}

func (silent) Print(...any) {}

// Numbers of the servers' errors, that callers decide on or that are explained.
const (
	DuplicateKey = 1062
	LockTimeout  = 1205

	tooManyConnections = 1040
	badDatabase        = 1049
	accessDenied       = 1045
	dbAccessDenied     = 1044
	tableDenied        = 1142
	wsrepNotReady      = 1047
	shutdown           = 1053
	diskFull           = 1021
	tableFull          = 1114
	deadlock           = 1213
	readOnly           = 1290
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
	case tooManyConnections, wsrepNotReady, shutdown, killed, idle:
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
	case diskFull, tableFull:
		return fmt.Errorf("its disk is full; make room and try again: %w", err)
	case readOnly:
		return fmt.Errorf("the server takes no writes; name the one that does in the credentials file: %w", err)
	case accessDenied, dbAccessDenied, tableDenied:
		return fmt.Errorf("the server does not let this user in; look at user and password in the credentials file, and at the user's rights: %w", err)
	case badDatabase:
		return fmt.Errorf("the server has no such database; create it, or correct the credentials file: %w", err)
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return fmt.Errorf("the server does not answer; start it, or correct host, port or socket in the credentials file: %w", err)
	}
	return err
}
