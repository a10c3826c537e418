// Package tcmu makes the units of a virtual tape library real SCSI devices of this machine, through LIO's target_core_user, whose
// rings bring their commands, and tcm_loop, which is a SCSI host of its own for each library. The kernel's st, sg and ch
// attach to them as to any other.
//
// It needs root, as whom configfs and /dev/uio* can be written to; of root's capabilities only CAP_SYS_MODULE, and that only if
// modules are not loaded yet. Each unit is served by one goroutine. A process that dies leaves the devices there; commands wait until another one takes them over under
// the same name.
package tcmu

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"twintape/internal/tape/vtl"
)

const (
	targetDir   = "/sys/kernel/config/target"
	coreDir     = targetDir + "/core/user_0"
	loopbackDir = targetDir + "/loopback"
)

// modules are what the kernel needs: the rings, the host, and the drivers that programs use.
var modules = []string{"target_core_user", "tcm_loop", "st", "sg", "ch"}

// Host is a library's units as devices.
type Host struct {
	fabric  string // its folder in configfs
	devices []*device
	links   []string // of the units, in configfs

	release context.CancelFunc // ends commands that hang
	cancel  context.CancelFunc // ends serving
	served  sync.WaitGroup
	failed  chan error
}

// Node is a unit's place in /dev.
type Node struct {
	Unit, Serial string
	Paths        []string // such as /dev/sg1 and /dev/nst0
}

// Open brings a library up under a name of letters and digits, which must be its own on this machine. Devices that an earlier
// process left under that name are taken over, with the commands that wait. The devices are there when it returns. Ready tells
// whether the kernel has what that needs.
func Open(name string, units []vtl.Unit) (*Host, error) {
	serving, cancel := context.WithCancel(context.Background())
	executing, release := context.WithCancel(serving)
	h := &Host{fabric: filepath.Join(loopbackDir, naa(name)), release: release, cancel: cancel, failed: make(chan error, len(units))}
	for i, unit := range units {
		if err := h.add(serving, executing, i, name, unit); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", unit.Name(), err), h.Close())
		}
	}
	return h, nil
}

// add brings one unit up: its ring is served before it is linked, since the kernel asks it who it is at once.
func (h *Host) add(serving, executing context.Context, lun int, name string, unit vtl.Unit) error {
	d, err := openDevice(unit, name+unit.Name())
	if err != nil {
		return err
	}
	h.devices = append(h.devices, d)
	h.served.Go(func() {
		if err := d.serve(serving, executing); err != nil {
			h.failed <- err
		}
	})
	group := filepath.Join(h.fabric, "tpgt_1")
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	// The nexus is the loop's other end; a group that was taken over has one.
	if _, err := os.ReadFile(filepath.Join(group, "nexus")); err != nil {
		if err := os.WriteFile(filepath.Join(group, "nexus"), []byte(filepath.Base(h.fabric)), 0); err != nil {
			return fmt.Errorf("making the nexus: %w", err)
		}
	}
	folder := filepath.Join(group, "lun", fmt.Sprintf("lun_%d", lun))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	link := filepath.Join(folder, "unit")
	h.links = append(h.links, link)
	if err := os.Symlink(d.folder, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Ready loads the kernel's modules, and says what is missing.
func Ready() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can make devices of the kernel")
	}
	for _, m := range modules {
		if _, err := os.Stat("/sys/module/" + m); err == nil {
			continue
		}
		out, err := exec.Command("modprobe", m).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("loading the kernel's modules: %w: apt-get install kmod", err)
		}
		if err != nil && m != "ch" { // mtx needs no ch
			return fmt.Errorf("the kernel's module %s cannot be loaded (modprobe: %w: %s): it is in Debian's linux-image-amd64, "+
				"not in the cloud kernels", m, err, strings.TrimSpace(string(out)))
		}
	}
	if _, err := os.Stat(targetDir); err != nil {
		return fmt.Errorf("%w: mount -t configfs configfs /sys/kernel/config", err)
	}
	return nil
}

// naa is a world wide name for a library.
func naa(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name)) //nolint:errcheck // a hash never fails
	return fmt.Sprintf("naa.3%015x", h.Sum64()>>4)
}

// Failed tells of a unit that is not served any more, and why.
func (h *Host) Failed() <-chan error { return h.failed }

// Nodes are where the units are in /dev. It waits a while for nodes that are not there yet.
func (h *Host) Nodes(ctx context.Context) ([]Node, error) {
	text, err := os.ReadFile(filepath.Join(h.fabric, "tpgt_1/address"))
	if err != nil {
		return nil, err
	}
	address := strings.TrimSpace(string(text))
	var nodes []Node
	for lun, d := range h.devices {
		dir := fmt.Sprintf("/sys/class/scsi_device/%s:%d/device", address, lun)
		paths, err := waitForNodes(ctx, dir, d.unit)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, Node{Unit: d.unit.Name(), Serial: d.unit.Serial(), Paths: paths})
	}
	return nodes, nil
}

// nodeTime is how long the kernel and udev may take to make nodes.
const nodeTime = 10 * time.Second

func waitForNodes(ctx context.Context, dir string, unit vtl.Unit) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTime)
	defer cancel()
	kinds := []string{"scsi_generic/sg*"}
	if unit.Name() != "changer" {
		kinds = append(kinds, "scsi_tape/nst*")
	}
	for {
		var paths []string
		for _, kind := range kinds {
			found, err := filepath.Glob(filepath.Join(dir, kind))
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				// st has a node for each mode: nst0, nst0l, nst0m, nst0a
				if last := f[len(f)-1]; last < '0' || last > '9' {
					continue
				}
				node := "/dev/" + filepath.Base(f)
				if _, err := os.Stat(node); err == nil {
					paths = append(paths, node)
				}
			}
		}
		if len(paths) == len(kinds) {
			slices.Sort(paths)
			return paths, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: the kernel made no device (looked for %v in %s): %w", unit.Name(), kinds, dir, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close takes the devices out of the kernel. Commands that hang come to an end. Who has a device open gets errors.
func (h *Host) Close() error {
	h.release() // the kernel waits for commands under way
	var err error
	for _, link := range slices.Backward(h.links) { // the units answer while they are taken away
		err = errors.Join(err, ignore(os.Remove(link), fs.ErrNotExist), ignore(os.Remove(filepath.Dir(link)), fs.ErrNotExist))
	}
	err = errors.Join(err, ignore(os.Remove(filepath.Join(h.fabric, "tpgt_1")), fs.ErrNotExist), ignore(os.Remove(h.fabric), fs.ErrNotExist))
	h.cancel()
	h.served.Wait()
	for _, d := range h.devices {
		err = errors.Join(err, d.remove())
	}
	// The folder of the rings may have another library's in it.
	return errors.Join(err, ignore(ignore(os.Remove(coreDir), fs.ErrExist), fs.ErrNotExist))
}

// ignore is err, unless it is one that was to be expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
