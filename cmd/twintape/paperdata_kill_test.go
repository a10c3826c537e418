package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/exitcode"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/paperdata/paperdatatest"
)

// TestSyncKilled kills `queue sync` at each of its orders to the databases, before it is carried out or after, or breaks its connections there,
// and repeats it until there is nothing to do: in the end both sides are as if it had never been killed.
func TestSyncKilled(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "twintape")
	shell(t, "go", "build", "-o", bin, ".")
	server := mariadbtest.Private(t)
	for _, kind := range []string{"SQLite", "MariaDB"} {
		t.Run(kind, func(t *testing.T) {
			s := newSyncSite(t, bin, server, kind == "MariaDB")
			s.restore()
			s.proxy.Interrupt(0, false, nil)
			s.mustRun("queue", "sync")
			orders := s.proxy.Orders()
			want := s.state()
			if !strings.Contains(want, "[PAPR1001,PAPR2001]-1:1 1 1\n") || strings.Count(want, `"state":"queued"`) != 5 {
				t.Fatalf("after an undisturbed run the state is\n%s", want)
			}
			step := 1
			if s.ledger != nil {
				step = max(1, orders/50) // most are the ledger's own, which has tests of its own
			}
			kills := 0
			for n := 1; ; n += step {
				late := n/step%2 == 1
				cut := s.ledger == nil && n%5 == 0 // its ledger would wait for its database
				s.restore()
				if !s.killAt(n, late, cut) {
					break // orders may come in one piece, so their number varies a little
				}
				kills++
				s.proxy.Interrupt(0, false, nil)
				runs := 0
				for before := ""; before != s.state(); runs++ {
					before = s.state()
					s.mustRun("queue", "sync")
				}
				if got := s.state(); got != want || runs > 3 {
					t.Fatalf("killed at order %d of %d, late %v, then run %d times, the state is\n%s\nwant\n%s", n, orders, late, runs, got, want)
				}
			}
			if t.Logf("killed at %d of %d orders", kills, orders); kills < orders/step*9/10 {
				t.Errorf("killed %d times only", kills)
			}
		})
	}
}

// syncSite is a site with everything in it that a sync has to do.
type syncSite struct {
	*testing.T
	bin, dir string
	proxy    *mariadbtest.Proxy
	paper    *paperdatatest.Databases
	ledger   *sql.DB // as root; nil for SQLite
}

func newSyncSite(t *testing.T, bin string, server *mariadbtest.Server, inServer bool) *syncSite {
	s := &syncSite{T: t, bin: bin, dir: filepath.Join(t.TempDir(), "site"), proxy: server.Proxy(t)}
	init := []string{"init", "--dir", s.dir}
	if inServer {
		file := server.Credentials(t)
		text, err := os.ReadFile(file)
		s.must(err)
		s.must(os.WriteFile(file, []byte(strings.ReplaceAll(string(text), server.Socket(), s.proxy.Socket)), 0o600))
		init = append(init, "--ledger-credentials", file)
		_, name, _ := strings.Cut(string(text), "database = ")
		s.ledger = server.Open(strings.TrimSpace(name))
		t.Cleanup(func() { s.ledger.Close() })
	}
	s.mustRun(init...)
	s.paper = paperdatatest.New(t, server, "PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002")
	s.paper.Socket = s.proxy.Socket
	config, err := os.OpenFile(filepath.Join(s.dir, "twintape.toml"), os.O_APPEND|os.O_WRONLY, 0)
	s.must(err)
	_, err = fmt.Fprintf(config, "[[host]]\nname = \"pot1\"\nsource = \"local\"\nroot = \"data\"\n[paperdata]\ncredentials_file = %q\nfiles_database = %q\nlabels_database = %q\n",
		s.paper.Credentials(t), s.paper.Files, s.paper.Labels)
	s.must(errors.Join(err, config.Close()))

	const sum = "MD5('x')"
	add := func(obsnum int, exists bool) string {
		source := fmt.Sprintf("pot1:/zen.%d.uv", obsnum)
		s.paper.Add(t, source, int64(obsnum), "")
		s.paper.Exec(t, "UPDATE File SET md5sum = "+sum+" WHERE source = ?", source)
		if dir := filepath.Join(s.dir, "data", source[len("pot1:/"):]); exists {
			s.must(os.MkdirAll(dir, 0o755))
			s.must(os.WriteFile(filepath.Join(dir, "visdata"), []byte("x"), 0o644))
		}
		return source
	}
	archived := add(0, true)
	s.mustRun("queue", "sync")
	s.mustRun("archive")
	waits, removed, lost := add(1, true), add(2, true), add(3, true)
	s.mustRun("queue", "sync")
	s.mustRun("queue", "rm", removed[len("pot1:"):])
	torn := add(4, true)
	add(5, false)
	add(6, true)
	add(7, true)
	add(8, true)
	claim := strings.TrimSpace(s.paper.Query(t, "SELECT tape_index FROM File WHERE source = ?", waits))
	s.paper.Exec(t, "UPDATE File SET tape_index = ?, is_deletable = 0 WHERE source IN (?, ?)", claim, archived, torn)
	s.paper.Exec(t, "UPDATE File SET tape_index = '14711' WHERE source = ?", lost)
	s.paper.Exec(t, "UPDATE "+s.paper.Labels+".ids SET date = NULL, status = IF(label = 'PAPR1002', ?, NULL)", claim)
	s.save()
	return s
}

func (s *syncSite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *syncSite) command(args ...string) *exec.Cmd {
	return exec.Command(s.bin, append([]string{"--config", filepath.Join(s.dir, "twintape.toml")}, args...)...)
}

func (s *syncSite) mustRun(args ...string) string {
	s.Helper()
	cmd := s.command(args...)
	if args[0] == "init" {
		cmd = exec.Command(s.bin, args...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.Fatalf("twintape %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// killAt kills a sync at an order, or only breaks its connections; false if it came to its end before.
func (s *syncSite) killAt(order int, late, cut bool) bool {
	cmd := s.command("queue", "sync")
	var said strings.Builder
	cmd.Stderr = &said
	started := make(chan struct{})
	over := s.proxy.Interrupt(order, late, func() {
		<-started
		if cut {
			return
		}
		if err := cmd.Process.Kill(); err != nil {
			s.Error(err)
		}
	})
	s.must(cmd.Start())
	close(started)
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		s.must(err)
		return false
	}
	<-over
	if exit.Exited() != cut || cut && (exit.ExitCode() != exitcode.Unavailable || !strings.Contains(said.String(), "twintape: paper-dump's databases ")) {
		s.Errorf("interrupted at order %d it ended with %v:\n%s", order, err, said.String())
	}
	return true
}

// tables of both paper-dump's databases and of the ledger, by the database that they are opened through.
func (s *syncSite) tables() map[*sql.DB][]string {
	out := map[*sql.DB][]string{s.paper.DB: {"File", s.paper.Labels + ".ids"}}
	if s.ledger == nil {
		return out
	}
	rows, err := s.ledger.Query("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name NOT LIKE 'saved_%'")
	s.must(err)
	defer rows.Close()
	for rows.Next() {
		var name string
		s.must(rows.Scan(&name))
		out[s.ledger] = append(out[s.ledger], name)
	}
	s.must(rows.Err())
	return out
}

func saved(table string) string {
	i := strings.LastIndexByte(table, '.') + 1
	return table[:i] + "saved_" + table[i:]
}

// save keeps the state, restore brings it back.
func (s *syncSite) save() {
	for db, tables := range s.tables() {
		for _, table := range tables {
			_, err := db.Exec(fmt.Sprintf("CREATE TABLE %s AS SELECT * FROM %s", saved(table), table))
			s.must(err)
		}
	}
	if s.ledger == nil {
		shell(s.T, "sh", "-c", "mkdir "+s.dir+"/saved && cp "+s.dir+"/ledger.db* "+s.dir+"/saved/")
	}
}

func (s *syncSite) restore() {
	for db, tables := range s.tables() {
		script := "SET FOREIGN_KEY_CHECKS = 0;"
		for _, table := range tables {
			script += fmt.Sprintf("DELETE FROM %s; INSERT INTO %[1]s SELECT * FROM %s;", table, saved(table))
		}
		_, err := db.Exec(script + "SET FOREIGN_KEY_CHECKS = 1")
		s.must(err)
	}
	if s.ledger == nil {
		shell(s.T, "sh", "-c", "rm "+s.dir+"/ledger.db* && cp "+s.dir+"/saved/* "+s.dir+"/")
	}
}

// state is all that both sides say, but for the ledger's numbers and times.
func (s *syncSite) state() string {
	out := s.paper.Query(s.T, "SELECT source, tape_index, is_tapeable, is_deletable FROM File ORDER BY source")
	out += s.paper.Query(s.T, "SELECT label, status, date IS NULL FROM "+s.paper.Labels+".ids ORDER BY id")
	for line := range strings.Lines(s.mustRun("--json", "queue", "ls", "--state", "all")) {
		_, path, _ := strings.Cut(line, `"path":`)
		path, _, _ = strings.Cut(path, ",")
		_, state, _ := strings.Cut(line, `"state":`)
		state, _, _ = strings.Cut(state, ",")
		out += path + ` "state":` + strings.Trim(state, "}\n") + "\n"
	}
	return out
}
