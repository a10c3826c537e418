package guest

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// programs are the real tools in the guest, by the end of their path; busybox stands in for the rest.
var programs = []string{
	"bin/kmod", "bin/mt-st", "sbin/mtx", "sbin/tapeinfo", "sbin/scsitape", "bin/sg_*", "bin/lsscsi", "bin/tar", "bin/dd", "bin/md5sum", "bin/dash",
}

// modules are loaded when the guest starts, with what they need.
var modules = []string{"virtio_pci", "9pnet_virtio", "9p", "st", "sg", "ch", "sd_mod", "uio", "target_core_mod", "target_core_user", "tcm_loop"}

//go:embed init.sh
var initScript string

// Prepare returns the image in a cache folder, which is made first if it is not what this version of the package makes.
func Prepare(ctx context.Context, cache string) (*Image, error) {
	recipe := sha256.New()
	fmt.Fprint(recipe, 1, packages, programs, modules, initScript)
	dir := filepath.Join(cache, hex.EncodeToString(recipe.Sum(nil)[:8]))
	m := &Image{kernel: filepath.Join(dir, "kernel"), initramfs: filepath.Join(dir, "initramfs")}
	if _, err := os.Stat(dir); err == nil {
		return m, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	made, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(made)
	if err := build(ctx, made); err != nil {
		return nil, fmt.Errorf("preparing the guest: %w", err)
	}
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, fs.ErrExist) { // somebody else was faster
		return nil, err
	}
	return m, nil
}

// build makes an image's files in dir.
func build(ctx context.Context, dir string) error {
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := fetch(ctx, root); err != nil {
		return err
	}
	kernels, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("%d kernels were unpacked: %w", len(kernels), err)
	}
	version := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	out, err := os.Create(filepath.Join(dir, "initramfs"))
	if err != nil {
		return err
	}
	defer out.Close()
	a := newArchive(out)
	if err := errors.Join(addPrograms(a, root), addModules(ctx, a, root, version)); err != nil {
		return err
	}
	a.text("/init", strings.ReplaceAll(initScript, "MODULES", strings.Join(modules, " ")), 0o755)
	for _, name := range []string{"/proc", "/sys", "/dev", "/run", "/root", "/tmp", "/results", "/share", "/busybox"} {
		a.dir(name)
	}
	return errors.Join(a.close(), out.Close(), os.Rename(kernels[0], filepath.Join(dir, "kernel")), os.RemoveAll(root))
}

// addPrograms adds the tools and the libraries that they are linked with.
func addPrograms(a *archive, root string) error {
	a.file("/bin/busybox", filepath.Join(root, "bin/busybox"))
	a.file("/lib64/ld-linux-x86-64.so.2", filepath.Join(root, "lib64/ld-linux-x86-64.so.2"))
	var needed []string
	add := func(to, from string) error {
		a.file(to, from)
		f, err := elf.Open(from)
		if err != nil { // a script
			return nil
		}
		defer f.Close()
		libraries, err := f.ImportedLibraries()
		needed = append(needed, libraries...)
		return err
	}
	for _, program := range programs {
		found, err := anywhere(root, program)
		if err != nil {
			return err
		}
		for _, from := range found {
			if err := add("/usr/bin/"+filepath.Base(from), from); err != nil {
				return err
			}
		}
	}
	for i := 0; i < len(needed); i++ { // it grows
		if slices.Contains(needed[:i], needed[i]) {
			continue
		}
		found, err := anywhere(root, "lib/x86_64-linux-gnu/"+needed[i])
		if err != nil {
			return err
		}
		if err := add("/lib/x86_64-linux-gnu/"+needed[i], found[0]); err != nil {
			return err
		}
	}
	a.symlink("/usr/bin/mt", "mt-st")
	a.symlink("/bin/sh", "/usr/bin/dash") // busybox's prefers its own mt and tar
	a.symlink("/sbin/modprobe", "/usr/bin/kmod")
	return nil
}

// anywhere finds a file's path in root or root/usr, with * for parts of its name.
func anywhere(root, name string) ([]string, error) {
	for _, dir := range []string{root, filepath.Join(root, "usr")} {
		if found, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, fmt.Errorf("%s is in none of the packages", name)
}

// addModules adds the kernel's modules that are loaded, those they need, and what modprobe reads.
func addModules(ctx context.Context, a *archive, root, version string) error {
	base, err := anywhere(root, "lib/modules/"+version)
	if err != nil {
		return err
	}
	// The packages' own depmod, whatever this machine has.
	lib := filepath.Join(root, "lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	kmod, err := anywhere(root, "bin/kmod")
	if err != nil {
		return err
	}
	if _, err := output(ctx, "", filepath.Join(root, "lib64/ld-linux-x86-64.so.2"), "--library-path", lib, "--argv0", "depmod", kmod[0],
		"-b", strings.TrimSuffix(base[0], "/lib/modules/"+version), version); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(base[0], "modules.dep"))
	if err != nil {
		return err
	}
	needs := make(map[string][]string) // files by the module's file
	byName := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		file, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		needs[file] = strings.Fields(rest)
		name, _, _ := strings.Cut(path.Base(file), ".")
		byName[strings.ReplaceAll(name, "-", "_")] = file
	}
	wanted := make(map[string]bool)
	for _, m := range modules {
		file, ok := byName[m]
		if !ok {
			continue // built in, or modprobe will say so
		}
		wanted[file] = true
		for _, needed := range needs[file] {
			wanted[needed] = true
		}
	}
	to := "/lib/modules/" + version + "/"
	for file := range wanted {
		a.file(to+file, filepath.Join(base[0], file))
	}
	index, err := filepath.Glob(filepath.Join(base[0], "modules.*"))
	for _, file := range index {
		a.file(to+filepath.Base(file), file)
	}
	return err
}
