//go:build race

package twin_test

// raced says that the race detector watches, which makes everything many times as slow: the longest tests do a part then.
const raced = true
