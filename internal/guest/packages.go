package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// packages are what the guest's parts come from, beside the kernel and the libraries that these need.
var packages = []string{"busybox-static", "kmod", "mtx", "mt-st", "sg3-utils", "lsscsi", "tar", "coreutils", "dash", "libc6"}

// fetch unpacks the kernel and the packages below root, without installing them. It needs Debian's apt, not root.
func fetch(ctx context.Context, root string) error {
	names, err := withLibraries(ctx, packages)
	if err != nil && os.Getuid() == 0 { // a fresh machine has no lists
		if _, err = output(ctx, "", "apt-get", "update", "-q"); err == nil {
			names, err = withLibraries(ctx, packages)
		}
	}
	if err != nil {
		return err
	}
	kernels, err := depends(ctx, "linux-image-amd64")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(kernels, regexp.MustCompile(`^linux-image-[0-9]`).MatchString)
	if i < 0 {
		return errors.New("apt knows no kernel behind linux-image-amd64")
	}
	names = append(names, kernels[i])
	debs, err := os.MkdirTemp(root, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if err := download(ctx, debs, names); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, err := output(ctx, "", "dpkg", "-x", f, root); err != nil {
			return err
		}
	}
	return nil
}

// download tries once more with new lists of what there is: old ones name versions that are gone.
func download(ctx context.Context, dir string, names []string) error {
	_, err := output(ctx, dir, "apt-get", append([]string{"download", "-q"}, names...)...)
	if err != nil && os.Getuid() == 0 {
		if _, err = output(ctx, "", "apt-get", "update", "-q"); err == nil {
			_, err = output(ctx, dir, "apt-get", append([]string{"download", "-q"}, names...)...)
		}
	}
	return err
}

// withLibraries adds the libraries that packages need, and those that these need.
func withLibraries(ctx context.Context, names []string) ([]string, error) {
	all := slices.Clone(names)
	for next := names; len(next) > 0; {
		needed, err := depends(ctx, next...)
		if err != nil {
			return nil, err
		}
		next = nil
		for _, name := range needed {
			if strings.HasPrefix(name, "lib") && !slices.Contains(all, name) {
				all, next = append(all, name), append(next, name)
			}
		}
	}
	return all, nil
}

var dependsLine = regexp.MustCompile(`(?m)^[ |]*(?:Pre)?Depends: ([a-z0-9][a-z0-9.+-]*)$`)

// depends are the packages that packages directly depend on.
func depends(ctx context.Context, names ...string) ([]string, error) {
	out, err := output(ctx, "", "apt-cache", append([]string{"depends"}, names...)...)
	if err != nil {
		return nil, err
	}
	var needed []string
	for _, m := range dependsLine.FindAllStringSubmatch(out, -1) {
		needed = append(needed, m[1])
	}
	return needed, nil
}

// output runs a program, and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
