package stream

import (
	"context"
	"fmt"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// hash takes members in tape order and hashes each as its chunks arrive. MD5 has no parallelism within one stream, so
// workers go over consecutive members side by side.
func (r *run) hash(ctx context.Context) error {
	sum := digest.NewMD5()
	for m := range r.hashes {
		sum.Reset()
		for c := range m.chunks {
			select {
			case <-c.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			sum.Write(c.span.bytes()) //nolint:errcheck // a hash.Hash never fails
			r.ring.release(c.span.rec)
		}
		if err := ctx.Err(); err != nil {
			return err // layOut may have left the member half laid out
		}
		sum.Sum(m.sum[:0])
		m.compare()
		m.item.archive.finished()
	}
	return ctx.Err()
}

// compare fails a member whose MD5 is not the expected one.
func (m *member) compare() {
	want, ok := m.item.archive.Expected[m.entry.Host+":"+m.entry.Path]
	if ok && want != catalog.MD5(m.sum) && m.failed.get() == "" {
		m.failed.set(fmt.Sprintf("its MD5 is %s, expected was %s", m.sum, want))
	}
}
