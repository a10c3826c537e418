package fsmount

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"twintape/sources"
)

// toldAgain is how long the same trouble of the same host is not told again.
const toldAgain = time.Minute

// told keeps the log of a host in trouble short: users may ask it a thousand times a second.
type told struct {
	mu   sync.Mutex
	last map[string]time.Time // by host and errno
}

// problem tells of an error, unless the same was told just now.
func (t *told) problem(tell func(text string), err error, errno syscall.Errno) {
	host := ""
	var e *sources.Error
	if errors.As(err, &e) {
		host = e.Host
	}
	key := fmt.Sprint(host, errno)
	t.mu.Lock()
	quiet := time.Since(t.last[key]) < toldAgain
	if !quiet {
		if t.last == nil {
			t.last = make(map[string]time.Time)
		}
		t.last[key] = time.Now()
	}
	t.mu.Unlock()
	if !quiet {
		tell(fmt.Sprintf("%v (users see: %s)", err, errno.Error()))
	}
}
