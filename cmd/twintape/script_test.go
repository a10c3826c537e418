package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
	"twintape/internal/paperdump/paperdumptest"
)

func TestMain(m *testing.M) {
	testscript.Main(served{m}, map[string]func(){"twintape": func() { os.Exit(run()) }})
}

// served ends the MariaDB of the tests behind them.
type served struct{ *testing.M }

func (s served) Run() int { return mariadbtest.Run(s.M) }

// TestScript runs the sessions at the command line in testdata/script. They have some commands more than testscript's own:
// "exits N COMMAND..." runs a command and wants that exit code; "fault BARCODE SERIAL" has job 1 see a tape fail in a drive,
// which virtual drives never do; "oldtape BARCODE[,RECORD...] ITEM..." writes a cartridge of site/library as paper-dump would have, with
// the items of pot1 in an archive each, and with records that cannot be read; "database FILE" makes an empty database in MariaDB and writes FILE, with its
// credentials; "change FILE STATEMENT" carries a statement out there. What is about paper-dump's databases is in paperdata_test.go.
func TestScript(t *testing.T) {
	cmds := paperDump(t)
	cmds["exits"], cmds["fault"], cmds["oldtape"] = exits, recordFault, oldTape
	cmds["database"], cmds["change"] = database(t), change(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TWINTAPE_CONFIG", "site/twintape.toml")
			etc, err := filepath.Abs("../../etc")
			env.Setenv("ETC", etc)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command sleeps for a second at its end
			return err
		},
		Cmds: cmds,
	})
}

func recordFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fault BARCODE SERIAL")
	}
	l, err := ledger.Open(context.Background(), ts.MkAbs("site/ledger.db"), ledger.Options{})
	ts.Check(err)
	_, err = l.RecordFault(context.Background(), ledger.Fault{Job: 1, Barcode: args[0], Drive: args[1], What: "the drive reports a hardware fault"})
	ts.Check(err)
	ts.Check(l.Close())
}

func oldTape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: oldtape BARCODE[,RECORD...] ITEM...")
	}
	d := paperdumptest.Dump{
		PID: 4711, Record: 10 << 10, Short: true, Scratch: ts.Getenv("WORK"), Hosts: map[string]string{"pot1": ts.MkAbs("site/data")},
	}
	for _, item := range args[1:] {
		d.Archives = append(d.Archives, []string{item})
	}
	records, err := d.Records()
	ts.Check(err)
	on := strings.Split(args[0], ",")
	var unreadable []int
	for _, n := range on[1:] {
		block, err := strconv.Atoi(n)
		ts.Check(err)
		unreadable = append(unreadable, block)
	}
	ts.Check(os.WriteFile(ts.MkAbs("site/library/"+on[0]+".tap"), paperdumptest.Image(records, unreadable...), 0o644))
}

func database(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: database FILE")
		}
		made, err := os.ReadFile(mariadbtest.Shared(t).Credentials(t))
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), made, 0o600))
	}
}

func change(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: change FILE STATEMENT")
		}
		c, err := mycnf.Read(ts.MkAbs(args[0]))
		ts.Check(err)
		db := mariadbtest.Shared(t).Open(c.Database)
		defer db.Close()
		_, err = db.Exec(args[1])
		ts.Check(err)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d instead of %d", got, want)
	}
}
