package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/ledger/mariadbtest"
)

// outcomes is what a ledger holds, but for times, numbers and names that are made up anew each time.
func outcomes(t *testing.T, l *Ledger) string {
	t.Helper()
	var out strings.Builder
	for _, table := range tableNames {
		var n int
		if err := l.db.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, table, n)
	}
	for it, err := range l.Items(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, it.Path, it.State, it.Error, len(it.Copies))
	}
	tapes, err := l.Tapes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tp := range tapes {
		fmt.Fprintln(&out, tp.Barcode, tp.State, tp.Used, tp.Why)
	}
	jobs, err := l.Jobs(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		fmt.Fprintln(&out, j.Step, j.Lost, j.Reason)
	}
	return out.String()
}

// TestCutAtEachCommand breaks the connection at the nth command of every call that writes, before the server got it or after, and has it
// beaten by another's transaction there: each call comes through nevertheless, once.
func TestCutAtEachCommand(t *testing.T) {
	file := mariadbtest.Shared(t).Credentials(t)
	whole := openServer(t, file, file)
	for _, c := range writingCalls(t.Context(), whole.Ledger) {
		if err := c.call(); err != nil {
			t.Fatal(err)
		}
	}
	want := outcomes(t, whole.Ledger)
	for _, fault := range []mariadbtest.Fault{mariadbtest.LoseOrder, mariadbtest.LoseReply, mariadbtest.Deadlock} {
		for n := 1; n <= 40; n += 1 + n/12 {
			t.Run(fmt.Sprintf("%d at %d", fault, n), func(t *testing.T) {
				t.Parallel()
				s := mariadbtest.Shared(t)
				p := s.Proxy(t)
				straight := s.Credentials(t)
				text, err := os.ReadFile(straight)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "proxied.cnf")
				if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), s.Socket(), p.Socket)), 0o600); err != nil {
					t.Fatal(err)
				}
				l := openServer(t, straight, file).Ledger
				for _, c := range writingCalls(t.Context(), l) {
					p.In(n, fault)
					if err := c.call(); err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
					p.Next(mariadbtest.NoFault)
				}
				if hits := p.Hits(); n <= 5 && hits < 20 {
					t.Errorf("only %d faults befell", hits)
				}
				if got := outcomes(t, l); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}
