// Package fsmount shows a namespace as one read-only tree through the kernel's FUSE: <mountpoint>/<host>/<path>, and beside the
// hosts the catalogs of the tapes: <mountpoint>/tapes/<barcode>/<host>/<path>. It promises
// that a host which is down, hangs or refuses fails alone, with an error that its users understand, and within a time; that
// nothing is ever written; that no path leads out of a host's root; and that listing the root asks nobody.
//
// The kernel is answered through go-fuse's raw interface: nodes are found by number, so that an answer costs no path of its
// own, and a listing's attributes go out with it. Serve may be called once a process for each mount point. What it serves
// must not be used by the same process in a way that waits without giving its thread up, such as starting a child whose
// working directory it is.
package fsmount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"twintape/sources"
)

// Config is what Serve needs. Namespace, Problem and Info are required.
type Config struct {
	Namespace     *sources.Namespace
	Tapes         sources.Source // the catalogs of the tapes, as one more folder beside the hosts; none if nil
	AttrTTL       time.Duration  // for how long attributes and listings are believed without asking again
	CallLimit     time.Duration  // for one call at a host; listings have ten times as much
	RecallLimit   time.Duration  // for opening a file of Tapes, whose data may have to come off a tape first; as CallLimit if 0
	AllowOther    bool           // let other users than the one who mounts in
	NoPassthrough bool           // read local files through this process even where the kernel could by itself

	// Xattrs tells the extended attributes of a host's file that looks like now; its host alone if nil.
	Xattrs func(ctx context.Context, host, path string, now sources.Info) (map[string]string, error)

	Problem func(text string) // hears of errors that are not of every day, each host's at most once a minute
	Info    func(text string) // hears of what else there is to say
}

// openLimit is how long opening a file of a tree may take.
func (c *Config) openLimit(t *tree) time.Duration {
	if t.name == tapesName && c.RecallLimit > 0 {
		return c.RecallLimit
	}
	return c.CallLimit
}

func (c *Config) listLimit() time.Duration { return 10 * c.CallLimit }

// The times that unmounting takes at most.
const (
	unmountGrace = 5 * time.Second        // for users to let go
	unmountPause = 100 * time.Millisecond // between attempts
)

// Serve mounts the namespace, calls ready, and serves until ctx ends or somebody unmounts it; both are no error. A mount that
// a killed process left at the mount point is taken away first.
func Serve(ctx context.Context, mountpoint string, cfg Config, ready func()) error {
	if err := clear(mountpoint); err != nil {
		return err
	}
	forest, err := newForest(cfg.Namespace, cfg.Tapes)
	if err != nil {
		return err
	}
	life, end := context.WithCancelCause(context.Background())
	defer end(errUnmounted)
	root := &node{}
	f := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), cfg: cfg, forest: forest, root: root, nodes: newNodes(root), life: life,
	}
	options := &fuse.MountOptions{
		Name: "twintape", FsName: "twintape", Options: []string{"ro"}, AllowOther: cfg.AllowOther,
		MaxWrite: chunk, MaxReadAhead: chunk, MaxBackground: 64, MaxStackDepth: 1, IgnoreSecurityLabels: true,
	}
	if os.Geteuid() == 0 {
		options.DirectMountStrict = true
		options.DirectMountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
		options.Options = nil
	}
	server, err := fuse.NewServer(f, mountpoint, options)
	if err != nil {
		return fmt.Errorf("mount at %s: %w", mountpoint, err)
	}
	f.server = server
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve()
	}()
	err = server.WaitMount()
	if err == nil {
		err = f.settle(mountpoint)
	}
	if err == nil {
		ready()
		select {
		case <-ctx.Done():
		case <-served: // somebody unmounted it
		}
	}
	end(errUnmounted) // calls that hang are answered, so that nobody holds the mount
	gone := false
	select {
	case <-served:
	default:
		var unmountErr error
		gone, unmountErr = f.unmount(server, mountpoint)
		err = errors.Join(err, unmountErr)
	}
	if gone { // else whoever uses it still gets ENOTCONN from us, until this process ends
		<-served
	}
	f.running.Wait()
	if err != nil {
		return fmt.Errorf("mount at %s: %w", mountpoint, err)
	}
	return nil
}

// settle learns the mount's device, by which walks through a local host are kept from coming back into it, and raises what
// the kernel reads ahead, which is 128 KiB unless said otherwise.
func (f *fileSystem) settle(mountpoint string) error {
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return err
	}
	f.device.Store(st.Dev)
	ahead := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if err := os.WriteFile(ahead, []byte(fmt.Sprint(chunk>>10)), 0); err != nil {
		f.cfg.Info(fmt.Sprintf("the kernel reads ahead less than it could: %v", err))
	}
	return nil
}

// unmount takes the mount away, and tells whether it is gone. One that is still used after a while is only taken out of the
// tree: nobody new comes in.
func (f *fileSystem) unmount(server *fuse.Server, mountpoint string) (gone bool, err error) {
	for began := time.Now(); time.Since(began) < unmountGrace; time.Sleep(unmountPause) {
		if err = server.Unmount(); err == nil {
			return true, nil
		}
	}
	f.cfg.Info(fmt.Sprintf("%s is still in use: it is taken out of the tree, and its users get errors from now on", mountpoint))
	if lazy := unix.Unmount(mountpoint, unix.MNT_DETACH); lazy != nil {
		return false, errors.Join(err, lazy)
	}
	return false, nil
}

// clear makes sure that the mount point is a folder where nothing of ours is mounted, and takes a dead mount away.
func clear(mountpoint string) error {
	ours, err := mountedHere(mountpoint)
	if err != nil {
		return err
	}
	if ours {
		// What the kernel remembers of a dead mount's folder looks alive; this asks the process.
		var st unix.Statfs_t
		if err := unix.Statfs(mountpoint, &st); !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("another `twintape mount` serves %s already", mountpoint)
		}
		if err := unix.Unmount(mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("%s is a mount whose process is gone, and cannot be taken away: %w; `fusermount3 -u -z %s` may", mountpoint, err, mountpoint)
		}
		return clear(mountpoint)
	}
	info, err := os.Stat(mountpoint)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("mount point %s is no folder", mountpoint)
	}
	return nil
}

// mountedHere tells whether a mount of ours is at a place, as proc_pid_mountinfo(5) has it.
func mountedHere(mountpoint string) (bool, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(mounts)) {
		mount, kind, ok := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if ok && len(fields) > 4 && unescape(fields[4]) == mountpoint && strings.HasPrefix(kind, "fuse.twintape ") {
			return true, nil
		}
	}
	return false, nil
}

// unescape reads a path as mountinfo spells it: blanks, newlines and backslashes are three octal digits.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
