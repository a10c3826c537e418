package local

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"twintape/sources"
)

// Space tells how full the file system is that holds p.
func (s *Source) Space(ctx context.Context, p string) (sources.Space, error) {
	space, err := detach(ctx, s, s.silence, func() (sources.Space, error) {
		fd, err := s.open(p, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return sources.Space{}, err
		}
		defer unix.Close(fd)
		var st unix.Statfs_t
		if err := retryEINTR(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
			return sources.Space{}, err
		}
		size := uint64(st.Frsize)
		return sources.Space{
			ID:    fmt.Sprintf("local/%x.%x", st.Fsid.Val[0], st.Fsid.Val[1]),
			Total: st.Blocks * size, Free: st.Bfree * size, Available: st.Bavail * size, Files: st.Files, FreeFiles: st.Ffree,
		}, nil
	}, nil)
	return space, s.fail("ask the size of the file system of", p, err)
}
