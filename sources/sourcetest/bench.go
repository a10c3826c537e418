package sourcetest

import (
	"sync"
	"sync/atomic"
	"testing"

	"twintape/sources"
)

// ReadThrough reads a file of size bytes once, with four readers taking the next piece each, as the stream's fetchers do.
func ReadThrough(b *testing.B, src sources.Source, path string, size int64, piece int) {
	f, err := src.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, piece)
			for {
				off := next.Add(int64(piece)) - int64(piece)
				if off >= size {
					return
				}
				if _, err := f.ReadAt(b.Context(), buf, off); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
