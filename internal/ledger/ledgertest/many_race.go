//go:build race

package ledgertest

// many is smaller here: the race detector makes SQLite, which is Go code too, fifteen times slower.
const many = 5_000
