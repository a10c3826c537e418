// Package sourcetest is the conformance suite of sources.Source: what the interface promises, checked on a real tree.
package sourcetest

import (
	"errors"
	"testing"

	"twintape/sources"
)

// Host is the name that the sources under test must give themselves.
const Host = "testhost"

// Maker makes the source of a folder of this machine. The source is closed by the suite, after each test.
type Maker func(t *testing.T, root string) sources.Source

// Run checks every promise that needs no missing rights; see Denied for those.
func Run(t *testing.T, newSource Maker) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Maker)
	}{
		{"Attributes", testAttributes},
		{"HostileNames", testHostileNames},
		{"ReadDir", testReadDir},
		{"Readlink", testReadlink},
		{"HardLinks", testHardLinks},
		{"OpenRefuses", testOpenRefuses},
		{"Missing", testMissing},
		{"Read", testRead},
		{"ReadSparse", testReadSparse},
		{"ReadConcurrently", testReadConcurrently},
		{"ReadWhileItChanges", testReadWhileItChanges},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
		{"Descriptors", testDescriptors},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newSource) })
	}
}

func open(t *testing.T, newSource Maker, root string) sources.Source {
	t.Helper()
	src := newSource(t, root)
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return src
}

// wantError checks that an error is told as sources.Error promises, and returns it.
func wantError(t *testing.T, err error, path string, target error) {
	t.Helper()
	if err == nil {
		t.Errorf("%q: no error", path)
		return
	}
	var e *sources.Error
	if !errors.As(err, &e) {
		t.Errorf("%q: %T is no *sources.Error: %v", path, err, err)
		return
	}
	if e.Host != Host || e.Path != path || e.Op == "" {
		t.Errorf("%q: the error names op %q, host %q, path %q: %v", path, e.Op, e.Host, e.Path, err)
	}
	if target != nil && !errors.Is(err, target) {
		t.Errorf("%q: %v is not %v", path, err, target)
	}
	if target != sources.ErrUnavailable && errors.Is(err, sources.ErrUnavailable) {
		t.Errorf("%q: an error of the path is told as one of the host: %v", path, err)
	}
}
