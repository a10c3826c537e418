package mariadbtest_test

import (
	"testing"

	"twintape/internal/ledger/mariadbtest"
)

// TestServer: what was committed is there after a kill.
func TestServer(t *testing.T) {
	s := mariadbtest.Private(t)
	name, _ := s.Database(t)
	db := s.Open(name)
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	again := s.Open(name)
	defer again.Close()
	var a int
	if err := again.QueryRow("SELECT a FROM t").Scan(&a); err != nil || a != 7 {
		t.Errorf("%d, %v", a, err)
	}
}
