package scan

// buffers is how many records the drive may be ahead of what is done with them, so that it need not stop.
const buffers = 8

// ahead reads a tape file while its drive is some records further. One goroutine reads the drive; when end has returned it is
// gone, and the tape file may be looked at.
type ahead struct {
	records chan record
	free    chan []byte
	now     record
	rest    []byte // of now, not returned yet
}

// record is one that was read, or why there is none.
type record struct {
	data, buf []byte
	err       error
}

// ahead begins to read.
func (f *tapeFile) ahead() *ahead {
	a := &ahead{records: make(chan record, buffers), free: make(chan []byte, buffers)}
	for range buffers {
		a.free <- make([]byte, len(f.buf))
	}
	go func() {
		defer close(a.records)
		for buf := range a.free {
			f.buf = buf
			r := record{err: f.fill(), buf: buf}
			r.data = f.rest
			a.records <- r
			if r.err != nil {
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 && a.now.err == nil {
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		a.now = <-a.records
		if a.rest = a.now.data; a.now.err != nil {
			a.rest = nil
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	if n == 0 && len(p) > 0 {
		return 0, a.now.err
	}
	return n, nil
}

// end waits until the drive is not used any more.
func (a *ahead) end() {
	for r := range a.records {
		a.free <- r.buf
	}
}
