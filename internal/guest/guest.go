// Package guest runs programs on a Linux of their own: Debian's kernel, with its tape drivers and tools, in QEMU. Tests use it
// for what a machine without tape hardware lacks: st, sg, ch, and LIO's target_core_user, through which a program can be a drive.
//
// Prepare makes the parts once, from Debian's packages, and keeps them in a cache folder; Image.Run boots in some seconds, without
// privileges. It is emulated even where there is KVM, which often does not work inside a virtual machine. Any number of guests may run at once, and be prepared at once. What a guest does
// to its files ends with it, but for its results folder.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Image is a kernel with its first files.
type Image struct {
	kernel, initramfs string
}

// Command is what a guest is started for.
type Command struct {
	Files   map[string]string // files of this machine by their path in the guest; they keep their mode
	Script  string            // for sh; there are mt, mtx, tar, dd, md5sum, the sg3-utils, and for the rest busybox
	Results string            // a folder of this machine that the guest sees as /results; none if empty
	Output  io.Writer         // gets what the script prints, as it comes
}

// exitFile tells the script's exit code, in the folder that the guest shares with this machine.
const exitFile = "exit"

// cpu is what is emulated: everything but the fast string instructions, for which the kernel would copy memory byte by byte.
const cpu = "max,erms=off,fsrm=off"

// Run boots a guest, runs the command as root, and returns its exit code. An error says that there was none, with what the
// kernel said last. The guest is ended with the context.
func (m *Image) Run(ctx context.Context, c Command) (int, error) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	initramfs, share, log := filepath.Join(dir, "initramfs"), filepath.Join(dir, "share"), filepath.Join(dir, "kernel.log")
	if err := os.Mkdir(share, 0o755); err != nil {
		return 0, err
	}
	if err := m.withCommand(initramfs, c); err != nil {
		return 0, fmt.Errorf("making the guest's files: %w", err)
	}
	args := []string{"-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", "2", "-m", "2G", "-nodefaults", "-no-reboot", "-display", "none",
		"-kernel", m.kernel, "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
		"-serial", "file:" + log, "-serial", "stdio",
		"-virtfs", "local,security_model=none,mount_tag=share,path=" + share}
	if c.Results != "" {
		args = append(args, "-virtfs", "local,security_model=none,mount_tag=results,path="+c.Results)
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Stdout = c.Output
	var said strings.Builder
	cmd.Stderr = &said
	err = cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, fmt.Errorf("the guest needs QEMU: apt-get install qemu-system-x86: %w", err)
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("the guest was ended: %w%s", ctx.Err(), tail(log))
	}
	if err != nil {
		return 0, fmt.Errorf("QEMU: %w: %s", err, said.String())
	}
	text, err := os.ReadFile(filepath.Join(share, exitFile))
	if err != nil {
		return 0, fmt.Errorf("the guest ended before its command did%s", tail(log))
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// tail is the end of a guest's kernel log, for messages.
func tail(log string) string {
	const most = 4 << 10
	text, err := os.ReadFile(log)
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; its kernel said:\n" + string(text[max(0, len(text)-most):])
}

// withCommand writes the image's first files with the command's behind them: the kernel unpacks one archive after the other.
func (m *Image) withCommand(to string, c Command) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open(m.initramfs)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	a := newArchive(out)
	for name, from := range c.Files {
		a.file(name, from)
	}
	a.text("/command", c.Script, 0o755)
	return errors.Join(a.close(), out.Close())
}
