package ledger_test

import (
	"testing"

	"twintape/internal/ledger"
	"twintape/internal/ledger/ledgertest"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

func client(t testing.TB, file string) mycnf.Client {
	t.Helper()
	c, err := mycnf.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMariaDB(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) func(ledger.Options) *ledger.Ledger {
		c := client(t, mariadbtest.Shared(t).Credentials(t))
		l, err := ledger.CreateMySQL(t.Context(), c, ledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return func(o ledger.Options) *ledger.Ledger {
			l, err := ledger.OpenMySQL(t.Context(), c, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return l
		}
	})
}
