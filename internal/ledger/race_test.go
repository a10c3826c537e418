//go:build race

package ledger_test

import "flag"

// The race detector makes SQLite fifteen times slower: fewer runs of the model, unless the command line says more.
func init() {
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
}
