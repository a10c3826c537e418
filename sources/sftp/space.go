package sftp

import (
	"context"
	"fmt"

	"github.com/pkg/sftp"

	"twintape/sources"
	"twintape/sources/pool"
)

// Space tells how full the host's file system is that holds p, if the server knows OpenSSH's statvfs.
func (s *Source) Space(ctx context.Context, p string) (sources.Space, error) {
	space, err := pool.On(ctx, s.pool, func(c *conn) (sources.Space, error) {
		return call(ctx, c, func() (sources.Space, error) {
			st, err := c.sftp.StatVFS(s.remote(p))
			if err != nil {
				return sources.Space{}, err
			}
			return s.space(st), nil
		}, nil)
	})
	return space, s.fail("ask the size of the file system of", p, err)
}

func (s *Source) space(st *sftp.StatVFS) sources.Space {
	return sources.Space{
		ID:    fmt.Sprintf("sftp/%s/%x", s.host, st.Fsid),
		Total: st.Blocks * st.Frsize, Free: st.Bfree * st.Frsize, Available: st.Bavail * st.Frsize, Files: st.Files, FreeFiles: st.Ffree,
	}
}
