package pool

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"
)

// Stripe fills p from offset off by reading pieces of at most size bytes, so many at once. read is as ReadAt of
// sources.File. What Stripe returns is what came without a gap.
func Stripe(ctx context.Context, p []byte, off int64, size, atOnce int, read func(ctx context.Context, p []byte, off int64) (int, error)) (int, error) {
	count := (len(p) + size - 1) / size
	if count <= 1 {
		return read(ctx, p, off)
	}
	filled := make([]int, count)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range count {
		from, to := i*size, min((i+1)*size, len(p))
		g.Go(func() (err error) {
			filled[i], err = read(gctx, p[from:to], off+int64(from))
			if err == io.EOF {
				err = nil // told by the count
			}
			return err
		})
	}
	err := g.Wait()
	n := 0
	for i := range count {
		n += filled[i]
		if n < min((i+1)*size, len(p)) {
			if err == nil {
				err = io.EOF
			}
			return n, err
		}
	}
	return n, err
}
