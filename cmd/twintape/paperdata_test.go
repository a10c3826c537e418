package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/paperdata/paperdatatest"
)

// paperDump are the commands of sessions with paper-dump's databases: "paperdump LABEL..." makes them, with site/paperdata.cnf and
// the table [paperdata] of the site; "sql QUERY" prints what a query returns there ("LABELS" is the database of table ids);
// "takes N" lets the old paper-dump take rows and a pair of labels.
func paperDump(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	var mu sync.Mutex
	sites := make(map[string]*paperdatatest.Databases) // by the session's folder
	site := func(ts *testscript.TestScript) *paperdatatest.Databases {
		mu.Lock()
		defer mu.Unlock()
		d := sites[ts.Getenv("WORK")]
		if d == nil {
			ts.Fatalf("paperdump comes first")
		}
		return d
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"paperdump": func(ts *testscript.TestScript, neg bool, args []string) {
			d := paperdatatest.New(t, mariadbtest.Shared(t), args...)
			mu.Lock()
			sites[ts.Getenv("WORK")] = d
			mu.Unlock()
			ts.Check(os.WriteFile(ts.MkAbs("site/paperdata.cnf"), []byte(d.Options()), 0o600))
			f, err := os.OpenFile(ts.MkAbs("site/twintape.toml"), os.O_APPEND|os.O_WRONLY, 0)
			ts.Check(err)
			_, err = f.WriteString("[paperdata]\ncredentials_file = \"paperdata.cnf\"\nfiles_database = \"" + d.Files + "\"\nlabels_database = \"" + d.Labels + "\"\n")
			ts.Check(err)
			ts.Check(f.Close())
		},
		"sql": func(ts *testscript.TestScript, neg bool, args []string) {
			d := site(ts)
			text, err := d.Text(strings.ReplaceAll(strings.Join(args, " "), "LABELS", d.Labels))
			ts.Check(err)
			_, err = ts.Stdout().Write([]byte(text))
			ts.Check(err)
		},
		"takes": func(ts *testscript.TestScript, neg bool, args []string) {
			p := &paperdatatest.PaperDump{Databases: site(ts), PID: 4711}
			n, err := strconv.Atoi(args[0])
			ts.Check(err)
			rows, err := p.TakeRows(t.Context(), n)
			ts.Check(err)
			labels, err := p.TakeLabels(t.Context())
			ts.Check(err)
			_, err = ts.Stdout().Write([]byte(strings.Join(append(rows, labels[:]...), "\n") + "\n"))
			ts.Check(err)
		},
	}
}
