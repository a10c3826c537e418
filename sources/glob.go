package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
)

// ErrNotItem marks a match that can be no item: a symlink, device, pipe or socket.
var ErrNotItem = errors.New("neither a regular file nor a directory")

// Matches receives what Glob finds, from one goroutine. An error that either function returns ends Glob with it.
type Matches struct {
	// Found is called for each match, hosts and the entries of each folder in bytewise order, with the host's own name.
	Found func(host, path string, info Info) error
	// Problem is called for what could not be looked at (an *Error naming host and path; a host that is
	// unavailable is told once and left), and for matches that can be no
	// item (an *Error that wraps ErrNotItem). The walk goes on elsewhere.
	Problem func(err error) error
}

// Glob finds the regular files and directories that match a pattern such as "host:/data/**/zen.*.uv", in the syntax of
// doublestar: * ? [a-z] {a,b} \x, and ** for any number of folders. The host too may be a pattern, over the hosts' own
// names. As "a/**" matches a itself, "host:/data/**" is one match: /data.
//
// The outermost match wins: nothing below a match is looked at. Only directories that the pattern cannot do without are
// listed. Symlinks below the pattern's fixed beginning are not followed. A fixed path that does not exist is no match,
// and no problem.
//
// The error says that the pattern is wrong (*PatternError; it wraps ErrUnknownHost if it names no host), or that ctx ended.
func Glob(ctx context.Context, ns *Namespace, patternText string, m Matches) error {
	hostPart, pathPart, ok := strings.Cut(patternText, ":")
	if !ok || hostPart == "" || !strings.HasPrefix(pathPart, "/") {
		return &PatternError{patternText, errors.New("write host:/absolute/pattern")}
	}
	p, err := compile(pathPart)
	if err != nil {
		return &PatternError{patternText, err}
	}
	hosts, err := ns.matchHosts(hostPart)
	if err != nil {
		return &PatternError{patternText, err}
	}
	for _, host := range hosts {
		_, src, err := ns.Source(host)
		if err != nil {
			return err
		}
		w := walk{ctx: ctx, host: host, src: src, pattern: p, Matches: m}
		if err := w.visit("/", nil, p.start(), true); err != nil && !errors.Is(err, errHostGone) {
			return err
		}
	}
	return ctx.Err()
}

func (ns *Namespace) matchHosts(text string) ([]string, error) {
	if !strings.ContainsAny(text, `*?[{\`) {
		host, _, err := ns.Source(text)
		return []string{host}, err
	}
	var hosts []string
	for _, host := range ns.names {
		ok, err := doublestar.Match(text, host)
		if err != nil {
			return nil, err
		}
		if ok {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w that matches %s", ErrUnknownHost, text)
	}
	return hosts, nil
}

// walk is one Glob on one host.
type walk struct {
	ctx     context.Context
	host    string
	src     Source
	pattern pattern
	Matches
}

// visit looks at one path. info is nil where no listing has told it yet. fixed says that the path was spelled out by the
// pattern from the root on: such folders need not be looked at, and symlinks among them are the user's own choice.
func (w *walk) visit(path string, info *Info, s state, fixed bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	matches := w.pattern.accepts(s)
	if info == nil && (matches || !fixed) {
		got, err := w.src.Stat(w.ctx, path)
		if isNoMatch(err) {
			return nil
		}
		if err != nil {
			return w.problem(err)
		}
		info = &got
	}
	if matches {
		if info.Mode.IsDir() || info.Mode.IsRegular() {
			return w.Found(w.host, path, *info)
		}
		return w.Problem(&Error{Op: "match", Host: w.host, Path: path, Err: fmt.Errorf("%w: %v", ErrNotItem, info.Mode.Type())})
	}
	if info != nil && !info.Mode.IsDir() {
		return nil
	}
	if names, ok := w.pattern.literals(s); ok {
		for _, name := range names {
			if err := w.visit(join(path, name), nil, w.pattern.step(s, name), fixed); err != nil {
				return err
			}
		}
		return nil
	}
	entries, err := w.src.ReadDir(w.ctx, path)
	if isNoMatch(err) {
		return nil
	}
	if err != nil {
		return w.problem(err)
	}
	for i := range entries {
		next := w.pattern.step(s, entries[i].Name)
		if len(next) == 0 {
			continue
		}
		if err := w.visit(join(path, entries[i].Name), &entries[i], next, false); err != nil {
			return err
		}
	}
	return nil
}

// errHostGone ends the walk of one host.
var errHostGone = errors.New("host gone")

// problem tells of a path that could not be looked at, unless the reason is that the caller gave up. A host that went
// away is told once, not for each folder that was still to be listed.
func (w *walk) problem(err error) error {
	if ctxErr := w.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if told := w.Problem(err); told != nil || !errors.Is(err, ErrUnavailable) {
		return told
	}
	return errHostGone
}

// isNoMatch tells that a path does not exist. What a host misses to be reached, a key file say, is another matter.
func isNoMatch(err error) bool {
	return !errors.Is(err, ErrUnavailable) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR))
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}
