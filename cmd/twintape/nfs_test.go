package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"twintape/sources/nfs/ganeshatest"
)

// TestScriptNFS runs the session in testdata/nfs.txtar beside a real NFS server. It exports $DATA and $BESIDE, at $SERVER.
func TestScriptNFS(t *testing.T) {
	data, beside := t.TempDir(), t.TempDir()
	for _, dir := range []string{data, beside} {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("in "+filepath.Base(dir)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: data}, {Path: beside}}})
	testscript.Run(t, testscript.Params{
		Files:               []string{"testdata/nfs.txtar"},
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TWINTAPE_CONFIG", "site/twintape.toml")
			env.Setenv("SERVER", server.Addr)
			env.Setenv("DATA", data)
			env.Setenv("BESIDE", beside)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}
