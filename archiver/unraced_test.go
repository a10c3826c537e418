//go:build !race

package archiver_test

const raced = false
