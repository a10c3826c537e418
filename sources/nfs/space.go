package nfs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"twintape/sources"
)

// Space tells how full the host's file system is that holds p. Of a directory that only leads to exports it tells of all
// file systems that this machine may see there, as if they were one.
func (s *Source) Space(ctx context.Context, p string) (sources.Space, error) {
	space, err := onPath(ctx, s, p, func(n *node) (sources.Space, error) {
		if n.exp != nil {
			return s.space(ctx, n)
		}
		return s.spaceBelow(ctx, n.path)
	})
	return space, s.fail("ask the size of the file system of", p, err)
}

func (s *Source) space(ctx context.Context, n *node) (sources.Space, error) {
	st, err := onFile(ctx, s, false, procFsstat, n.fh.encode, maxSmall, (*decoder).fsstat)
	if err != nil {
		return sources.Space{}, err
	}
	return sources.Space{
		ID:    fmt.Sprintf("nfs/%s/%x", s.cfg.Host, n.attr.fsid),
		Total: st.total, Free: st.free, Available: st.available, Files: st.files, FreeFiles: st.freeFiles,
	}, nil
}

// spaceBelow adds up the file systems of the exports below a directory.
func (s *Source) spaceBelow(ctx context.Context, dir string) (sources.Space, error) {
	list, err := s.exports(ctx)
	if err != nil {
		return sources.Space{}, err
	}
	var sum sources.Space
	seen := make(map[uint64]bool)
	for _, e := range list {
		if !strings.HasPrefix(e.path, dir+"/") && dir != "/" {
			continue
		}
		n, err := s.enter(ctx, e)
		var refused *refusedError
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return sources.Space{}, err
		}
		if seen[n.attr.fsid] {
			continue
		}
		seen[n.attr.fsid] = true
		one, err := s.space(ctx, n)
		if err != nil {
			return sources.Space{}, err
		}
		sum = sources.Space{
			ID: sum.ID + one.ID, Total: sum.Total + one.Total, Free: sum.Free + one.Free, Available: sum.Available + one.Available,
			Files: sum.Files + one.Files, FreeFiles: sum.FreeFiles + one.FreeFiles,
		}
	}
	if sum.ID == "" {
		return sources.Space{}, errors.New("no NFS export below it can be had")
	}
	return sum, nil
}
