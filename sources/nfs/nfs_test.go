package nfs_test

import (
	"os"
	"testing"
	"time"

	"twintape/sources"
	"twintape/sources/nfs"
	"twintape/sources/nfs/ganeshatest"
	"twintape/sources/sourcetest"
)

// config reaches a test's server.
func config(s *ganeshatest.Server, root string) nfs.Config {
	return nfs.Config{Host: sourcetest.Host, Address: s.Addr, Root: root, Timeout: 20 * time.Second}
}

func newSource(t testing.TB, cfg nfs.Config) *nfs.Source {
	t.Helper()
	src, err := nfs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// start serves all folders that a test makes.
func start(t testing.TB) *ganeshatest.Server {
	return ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: os.TempDir()}}})
}

func TestConformance(t *testing.T) {
	s := start(t)
	sourcetest.Run(t, func(t *testing.T, root string) sources.Source { return newSource(t, config(s, root)) })
}

func TestDenied(t *testing.T) {
	s := start(t)
	sourcetest.Denied(t, func(t *testing.T, root string) sources.Source { return newSource(t, config(s, root)) })
}
