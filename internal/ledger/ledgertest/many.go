//go:build !race

package ledgertest

// many is how many items or members make a big call.
const many = 100_000
