package sources

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Host is one configured host: its name, other names it goes by, and its tree.
type Host struct {
	Name    string
	Aliases []string
	Source  Source
}

// Namespace joins the trees of all hosts under their names. It holds no connections of its own: each source connects
// when first used, and fails alone. All methods may be called concurrently.
type Namespace struct {
	names   []string // canonical, sorted
	byName  map[string]Host
	sources []Source
}

// hostName keeps names usable as a folder of the mount and of an archive; a name can be neither "." nor ".twintape".
var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// NewNamespace checks the names and joins the hosts. No host is contacted.
func NewNamespace(hosts []Host) (*Namespace, error) {
	ns := &Namespace{byName: make(map[string]Host)}
	for _, h := range hosts {
		if h.Source == nil {
			return nil, fmt.Errorf("host %q has no source", h.Name)
		}
		for _, name := range append([]string{h.Name}, h.Aliases...) {
			if !hostName.MatchString(name) {
				return nil, fmt.Errorf("host name %q: use letters, digits, dots, hyphens and underscores, a letter or digit first", name)
			}
			if other, taken := ns.byName[name]; taken {
				return nil, fmt.Errorf("the name %q is given twice: to host %s and to host %s", name, other.Name, h.Name)
			}
			ns.byName[name] = h
		}
		ns.names = append(ns.names, h.Name)
		ns.sources = append(ns.sources, h.Source)
	}
	slices.Sort(ns.names)
	return ns, nil
}

// Hosts returns the hosts' names, without aliases, sorted.
func (ns *Namespace) Hosts() []string { return slices.Clone(ns.names) }

// Source returns the host's own name and its tree for a name or an alias. The error is an *Error that wraps
// ErrUnknownHost.
func (ns *Namespace) Source(name string) (canonical string, src Source, err error) {
	h, ok := ns.byName[name]
	if !ok {
		return "", nil, &Error{Op: "lookup", Host: name, Err: fmt.Errorf("%w; it has: %s", ErrUnknownHost, strings.Join(ns.names, ", "))}
	}
	return h.Name, h.Source, nil
}

// Stat is Source.Stat on a host.
func (ns *Namespace) Stat(ctx context.Context, host, path string) (Info, error) {
	_, src, err := ns.Source(host)
	if err != nil {
		return Info{}, err
	}
	return src.Stat(ctx, path)
}

// ReadDir is Source.ReadDir on a host.
func (ns *Namespace) ReadDir(ctx context.Context, host, path string) ([]Info, error) {
	_, src, err := ns.Source(host)
	if err != nil {
		return nil, err
	}
	return src.ReadDir(ctx, path)
}

// Readlink is Source.Readlink on a host.
func (ns *Namespace) Readlink(ctx context.Context, host, path string) (string, error) {
	_, src, err := ns.Source(host)
	if err != nil {
		return "", err
	}
	return src.Readlink(ctx, path)
}

// Open is Source.Open on a host.
func (ns *Namespace) Open(ctx context.Context, host, path string) (File, error) {
	_, src, err := ns.Source(host)
	if err != nil {
		return nil, err
	}
	return src.Open(ctx, path)
}

// Close closes all sources.
func (ns *Namespace) Close() error {
	var errs []error
	for _, src := range ns.sources {
		errs = append(errs, src.Close())
	}
	return errors.Join(errs...)
}

// ParsePath splits "host:/absolute/path" and cleans the path. Bytes are kept as they are. Whether there is such a host
// is not asked.
func ParsePath(s string) (host, clean string, err error) {
	host, p, ok := strings.Cut(s, ":")
	if !ok || host == "" {
		return "", "", fmt.Errorf("%q does not name a host: write host:/absolute/path", s)
	}
	if !hostName.MatchString(host) {
		return "", "", fmt.Errorf("%q: %q is no host name: write host:/absolute/path", s, host)
	}
	if !strings.HasPrefix(p, "/") {
		return "", "", fmt.Errorf("%q: the path on %s is not absolute: write %s:/%s", s, host, host, p)
	}
	if strings.IndexByte(p, 0) >= 0 {
		return "", "", fmt.Errorf("%q: a path cannot hold a zero byte", s)
	}
	return host, path.Clean(p), nil
}
