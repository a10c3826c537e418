package nfs

import (
	"context"
	"errors"
	"fmt"

	"twintape/sources"
)

// Space tells how full the host's file system is that holds p.
func (s *Source) Space(ctx context.Context, p string) (sources.Space, error) {
	space, err := onPath(ctx, s, p, func(n *node) (sources.Space, error) {
		if n.exp == nil {
			return sources.Space{}, errors.New("it lies in no NFS export")
		}
		st, err := onFile(ctx, s, false, procFsstat, n.fh.encode, maxSmall, (*decoder).fsstat)
		if err != nil {
			return sources.Space{}, err
		}
		return sources.Space{
			ID:    fmt.Sprintf("nfs/%s/%x", s.cfg.Host, n.attr.fsid),
			Total: st.total, Free: st.free, Available: st.available, Files: st.files, FreeFiles: st.freeFiles,
		}, nil
	})
	return space, s.fail("ask the size of the file system of", p, err)
}
