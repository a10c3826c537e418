package sftp_test

import (
	"os"
	"os/user"
	"testing"
	"time"

	"twintape/sources"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
	"twintape/sources/sourcetest"
)

// config reaches a test's server.
func config(s *sshdtest.Server, root string) sftp.Config {
	return sftp.Config{
		Host: sourcetest.Host, Address: s.Addr, User: s.User, IdentityFile: s.IdentityFile, KnownHosts: s.KnownHosts,
		Root: root, Timeout: 20 * time.Second,
	}
}

// TestConformanceOpenSSH runs against Debian's default, a process of its own; the other tests use internal-sftp.
func TestConformanceOpenSSH(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{Subsystem: "/usr/lib/openssh/sftp-server"})
	sourcetest.Run(t, func(t *testing.T, root string) sources.Source { return sftp.New(config(s, root)) })
}

func TestDenied(t *testing.T) {
	var opts sshdtest.Options
	if os.Geteuid() == 0 {
		opts.User = "nobody"
	}
	s := sshdtest.Start(t, opts)
	cfg := config(s, "")
	// The suite reads as nobody too, and a key may be read by its owner only.
	if err := os.Chown(s.IdentityFile, 65534, -1); os.Geteuid() == 0 && err != nil {
		t.Fatal(err)
	}
	sourcetest.Denied(t, func(t *testing.T, root string) sources.Source {
		cfg.Root = root
		return sftp.New(cfg)
	})
}

// TestNames: owners have their names on the host, though its accounts lie outside the root.
func TestNames(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	src := sftp.New(config(s, t.TempDir()))
	defer src.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	info, err := src.Stat(t.Context(), "/")
	if err != nil || info.User != me.Username || info.Group != group.Name {
		t.Errorf("%+v, %v, want %s:%s", info, err, me.Username, group.Name)
	}
}
