package sources_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"twintape/sources"
)

func TestNamespaceResolvesNamesAndAliases(t *testing.T) {
	pot, still := newTree("pot1", "/data/a"), newTree("still4")
	ns, err := sources.NewNamespace([]sources.Host{
		{Name: "still4", Aliases: []string{"still4.karoo", "s4"}, Source: still},
		{Name: "pot1", Source: pot},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.Hosts(); !slices.Equal(got, []string{"pot1", "still4"}) {
		t.Errorf("Hosts() = %q", got)
	}
	for _, name := range []string{"still4", "still4.karoo", "s4"} {
		if host, src, err := ns.Source(name); err != nil || host != "still4" || src != still {
			t.Errorf("Source(%q) = %q, %v, %v", name, host, src, err)
		}
	}
	if _, _, err := ns.Source("pot2"); !errors.Is(err, sources.ErrUnknownHost) || !strings.Contains(err.Error(), "pot1, still4") {
		t.Errorf("unknown host: %v", err)
	}
	ctx := t.Context()
	if info, err := ns.Stat(ctx, "pot1", "/data/a"); err != nil || info.Name != "a" {
		t.Errorf("Stat = %v, %v", info, err)
	}
	if list, err := ns.ReadDir(ctx, "pot1", "/data"); err != nil || len(list) != 1 {
		t.Errorf("ReadDir = %v, %v", list, err)
	}
	if _, err := ns.Open(ctx, "pot1", "/data/a"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Open: %v", err)
	}
	if _, err := ns.Readlink(ctx, "nobody", "/x"); !errors.Is(err, sources.ErrUnknownHost) {
		t.Errorf("Readlink: %v", err)
	}
	if err := ns.Close(); err != nil || !pot.closed || !still.closed {
		t.Errorf("Close: %v, closed %v %v", err, pot.closed, still.closed)
	}
}

func TestNamespaceRefusesNames(t *testing.T) {
	src := newTree("x")
	for _, hosts := range [][]sources.Host{
		{{Name: "", Source: src}},
		{{Name: ".twintape", Source: src}},
		{{Name: "a/b", Source: src}},
		{{Name: "a:b", Source: src}},
		{{Name: "a\n", Source: src}},
		{{Name: "a", Aliases: []string{"b c"}, Source: src}},
		{{Name: "a", Source: src}, {Name: "a", Source: src}},
		{{Name: "a", Aliases: []string{"a"}, Source: src}},
		{{Name: "a", Aliases: []string{"b"}, Source: src}, {Name: "b", Source: src}},
		{{Name: "a"}},
	} {
		if _, err := sources.NewNamespace(hosts); err == nil {
			t.Errorf("NewNamespace(%v) accepted", hosts)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, c := range []struct{ in, host, path string }{
		{"pot1:/data/x", "pot1", "/data/x"},
		{"pot1:/", "pot1", "/"},
		{"pot1://data/./x/../y/", "pot1", "/data/y"},
		{"pot1:/../..", "pot1", "/"},
		{"pot1:/a:b/\xff\n*", "pot1", "/a:b/\xff\n*"},
	} {
		if host, path, err := sources.ParsePath(c.in); err != nil || host != c.host || path != c.path {
			t.Errorf("ParsePath(%q) = %q, %q, %v", c.in, host, path, err)
		}
	}
	for _, in := range []string{"", "pot1", "/data", ":/data", "pot1:", "pot1:data", "a/b:/x", "pot1:/a\x00b"} {
		if host, path, err := sources.ParsePath(in); err == nil {
			t.Errorf("ParsePath(%q) = %q, %q", in, host, path)
		}
	}
}
