package mycnf

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"
)

// How long a dial may take, a login with it, and what was sent may go unanswered by the server's machine.
const (
	dialTime   = 10 * time.Second
	loginTime  = 30 * time.Second
	silentTime = 45 * time.Second
)

// errSilent is a server that takes connections and lets nobody in, nor refuses.
var errSilent = &net.OpError{Op: "login", Net: "mysql", Err: fmt.Errorf("no answer within %v", loginTime)}

// Connector makes connections to the database, each of which begins with the statements. Texts are read and compared as the collation
// says; under "binary" they are bytes both ways. An UPDATE counts the rows it is about, also those that it leaves as they are.
func (c Client) Connector(collation string, statements ...string) (driver.Connector, error) {
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
	return connector{inner, statements}, nil
}

// Pool returns the database of a connector, to which nothing is connected yet. Connections age out, so that what forgets idle ones,
// and clusters, do no harm.
func Pool(c driver.Connector) *sql.DB {
	db := sql.OpenDB(c)
	// What stands between, and the server, forget connections that idle; a cluster moves them only when they are made anew.
	db.SetConnMaxLifetime(5 * time.Minute)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetMaxIdleConns(4)
	return db
}

// connector makes connections that begin with the statements.
type connector struct {
	driver.Connector
	statements []string
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginTime, errSilent)
	defer cancel()
	conn, err := c.login(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	return conn, err
}

func (c connector) login(ctx context.Context) (driver.Conn, error) {
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
