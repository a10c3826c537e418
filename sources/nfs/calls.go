package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"twintape/sources"
	"twintape/sources/pool"
)

// How long to wait until a call is made again: on another connection after those before were lost, and on a file that a
// server says to be fetching from slower storage.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// again makes a call on a connection, and again as long as that is worth it, within the source's timeout: a file that the
// server is still fetching (NFS3ERR_JUKEBOX), and a connection that was lost under the call, since a server that restarts
// is back soon and knows its handles; one that sends nonsense is asked once more only. A patient call waits for a connection in the same way; others fail at once if
// there is none.
func again[T any](ctx context.Context, s *Source, patient bool, call func(c *conn) (T, error)) (T, error) {
	began := time.Now()
	for wait, lost := firstWait, 0; ; wait = min(2*wait, lastWait) {
		var v T
		c, err := s.pool.Get(ctx)
		if err == nil {
			v, err = call(c)
		}
		pause := wait
		var paused *pool.PausedError
		switch {
		case errors.Is(err, statusJukebox):
			err = fmt.Errorf("%w: the server is still fetching it from slower storage: %w", sources.ErrUnavailable, err)
		case pool.WorthRepeating(err):
			lost++
			if lost > 1 && errors.Is(err, errMalformed) {
				return v, err
			}
			if lost == 1 {
				pause = 0 // it may have been idle for long
			}
		case errors.As(err, &paused) && (patient || lost > 0) && !errors.Is(err, pool.ErrSilent):
			pause = time.Until(paused.Until)
		default:
			return v, err
		}
		if time.Since(began)+pause >= s.cfg.Timeout {
			return v, err
		}
		select {
		case <-time.After(pause):
		case <-s.pool.Context().Done():
			return v, fs.ErrClosed
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// onFile calls an NFS procedure. An error may be a status.
func onFile[T any](ctx context.Context, s *Source, patient bool, p procedure, args func(*encoder), limit int, decode func(d *decoder) T) (T, error) {
	return again(ctx, s, patient, func(c *conn) (T, error) {
		a, err := do(ctx, c, p, args, limit, results(decode))
		if err == nil && a.status != 0 {
			err = a.status
		}
		return a.value, s.refused(c, err)
	})
}

// refused explains an error of the RPC layer, or one that an unprivileged port may cause.
func (s *Source) refused(c *conn, err error) error {
	var r *refusal
	if errors.As(err, &r) {
		if r.auth {
			return fmt.Errorf("%w: %w%s", sources.ErrUnavailable, err, s.portHint(c))
		}
		return fmt.Errorf("%w: %w", sources.ErrUnavailable, err)
	}
	if errors.Is(err, statusPerm) { // which is how Linux says it
		return fmt.Errorf("%w%s", err, s.portHint(c))
	}
	return err
}

func (s *Source) getattr(ctx context.Context, fh handle) (attr, error) {
	return onFile(ctx, s, false, procGetattr, fh.encode, maxSmall, (*decoder).attr)
}

// lookup finds a name in a directory; the attributes are never nil.
func (s *Source) lookup(ctx context.Context, dir handle, name string) (lookupReply, error) {
	args := func(e *encoder) { dir.encode(e); e.string(name) }
	found, err := onFile(ctx, s, false, procLookup, args, maxSmall, (*decoder).lookup)
	if err == nil && found.attr == nil {
		var a attr
		a, err = s.getattr(ctx, found.fh)
		found.attr = &a
	}
	return found, err
}

func (s *Source) readlink(ctx context.Context, n *node) (string, error) {
	return onFile(ctx, s, false, procReadlink, n.fh.encode, maxPath+maxSmall, (*decoder).readlink)
}

// read reads at most the server's limit. It returns what the server said, in a reply without a status.
func (s *Source) read(ctx context.Context, fh handle, p []byte, off int64) (readReply, error) {
	return again(ctx, s, true, func(c *conn) (readReply, error) {
		k := &call{into: p}
		err := c.call(ctx, procRead, readArgs(fh, off, len(p)), k)
		if err == nil && k.read.status != 0 {
			err = k.read.status
		}
		return k.read, s.refused(c, err)
	})
}
