//go:build race

package verify

// raced says that the race detector watches, which makes everything many times as slow: the longest tests do a part then.
const raced = true
