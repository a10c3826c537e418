package restore

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// target is the folder that members are restored to, as <host>/<absolute path>. One goroutine uses it; the files that it
// made may be used by another. Names from tapes are not trusted: nothing is
// made outside the folder or through a symlink, whatever lies there, and nothing that exists is replaced unless overwrite
// is set. A file has its name only when all of it is there and has the right MD5.
type target struct {
	root      *os.Root
	overwrite bool
	owners    bool    // are set too, which takes root
	open      []level // the folder that was used last, from the root's entry on down
	folders   []catalog.Entry
	temps     *atomic.Int64                       // of all targets of a run
	lacking   func(e *catalog.Entry, what string) // hears of what of a member could not be restored, though its data was
}

// level is an open folder.
type level struct {
	name string
	root *os.Root
}

func openTarget(dir string, overwrite bool, temps *atomic.Int64, lacking func(e *catalog.Entry, what string)) (*target, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	return &target{root: root, overwrite: overwrite, owners: os.Geteuid() == 0, temps: temps, lacking: lacking}, err
}

func (t *target) close() error {
	t.leave(0)
	return t.root.Close()
}

// leave closes the folders below a depth.
func (t *target) leave(depth int) {
	for _, l := range t.open[depth:] {
		l.root.Close() // names only
	}
	t.open = t.open[:depth]
}

// errHostile says that a name cannot be restored anywhere.
var errHostile = errors.New("its name is no plain path, and is restored nowhere")

// split cuts a member's name into the parts of its path below the folder.
func split(host, p string) ([]string, error) {
	if !strings.HasPrefix(p, "/") {
		return nil, errHostile
	}
	parts := []string{host}
	if p != "/" {
		parts = append(parts, strings.Split(p[1:], "/")...)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\x00") {
			return nil, errHostile
		}
	}
	return parts, nil
}

// at opens the folder of a member; nil if there is none and it is not to be made. It stays open for the next member.
func (t *target) at(e *catalog.Entry, create bool) (dir *os.Root, base string, err error) {
	parts, err := split(e.Host, e.Path)
	if err != nil {
		return nil, "", err
	}
	base, parts = parts[len(parts)-1], parts[:len(parts)-1]
	depth := 0
	for depth < len(t.open) && depth < len(parts) && t.open[depth].name == parts[depth] {
		depth++
	}
	t.leave(depth)
	dir = t.root
	if depth > 0 {
		dir = t.open[depth-1].root
	}
	for _, part := range parts[depth:] {
		info, err := dir.Lstat(part)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !create:
			return nil, base, nil
		case errors.Is(err, fs.ErrNotExist):
			if err = dir.Mkdir(part, 0o755); errors.Is(err, fs.ErrExist) { // another's, just now
				err = nil
			}
		case err == nil && !info.IsDir(): // a symlink is not gone through
			err = fmt.Errorf("%s is no folder: %w", path.Join(dir.Name(), part), errExists)
		}
		if err != nil {
			return nil, base, err
		}
		next, err := dir.OpenRoot(part)
		if err != nil {
			return nil, base, err
		}
		t.open = append(t.open, level{part, next})
		dir = next
	}
	return dir, base, nil
}

// errExists says that something else lies where a member belongs.
var errExists = errors.New("something else is there already: move it away, or restore with --overwrite")

// has tells whether a member is there already, just as it was archived: of a file that has its size and time everything is
// read. What is there and is something else is an error, unless it may be overwritten.
func (t *target) has(e *catalog.Entry) (bool, error) {
	dir, base, err := t.at(e, false)
	if dir == nil || err != nil {
		return false, err
	}
	info, err := dir.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	same := false
	switch {
	case e.Type == catalog.Dir && info.IsDir():
		return false, nil // its mode and time are still to be set
	case e.Type == catalog.Symlink && info.Mode()&fs.ModeSymlink != 0:
		link, err := dir.Readlink(base)
		same = err == nil && link == e.Link
	case e.Type == catalog.Hardlink && info.Mode().IsRegular():
		same = t.isLink(info, e)
	case e.Type == catalog.File && info.Mode().IsRegular() && info.Size() == e.Size && info.ModTime().Equal(e.MTime):
		if same, err = hasSum(dir, base, e.MD5); err != nil {
			return false, err
		}
	}
	if !same && (!t.overwrite || info.IsDir() || e.Type == catalog.Dir) {
		return false, errExists
	}
	return same, nil
}

func hasSum(dir *os.Root, base string, want catalog.MD5) (bool, error) {
	f, err := dir.Open(base)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := digest.NewMD5()
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return false, err
	}
	return catalog.MD5(sum.Sum(nil)) == want, nil
}

// isLink tells whether a file is the one that a hard link is another name of.
func (t *target) isLink(info fs.FileInfo, e *catalog.Entry) bool {
	dir, base, err := t.at(&catalog.Entry{Host: e.Host, Path: e.Link}, false)
	if dir == nil || err != nil {
		return false
	}
	other, err := dir.Lstat(base)
	return err == nil && os.SameFile(info, other)
}

// folder makes a directory, to be filled. Its mode, owner and time are set at the end.
func (t *target) folder(e *catalog.Entry) error {
	dir, base, err := t.at(e, true)
	if err != nil {
		return err
	}
	err = dir.Mkdir(base, 0o700)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = dir.Lstat(base); err == nil && info.Mode().Perm()&0o700 != 0o700 {
			err = dir.Chmod(base, info.Mode().Perm()|0o700) // an earlier run's, set already
		}
	}
	if err == nil {
		t.folders = append(t.folders, *e)
	}
	return err
}

// symlink makes a symlink. It is never followed.
func (t *target) symlink(e *catalog.Entry) error {
	return t.place(e, func(dir *os.Root, temp string) error {
		if err := dir.Symlink(e.Link, temp); err != nil {
			return err
		}
		f, err := dir.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		stamp := unix.NsecToTimespec(e.MTime.UnixNano())
		if t.owners {
			if err := dir.Lchown(temp, int(e.UID), int(e.GID)); err != nil {
				return err
			}
		}
		return unix.UtimesNanoAt(int(f.Fd()), temp, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// hardlink makes another name of a file that is restored already.
func (t *target) hardlink(e *catalog.Entry) error {
	first, err := split(e.Host, e.Link)
	if err != nil {
		return err
	}
	// Each folder on the way to the first name is looked at: it is no symlink.
	dir, base, err := t.at(&catalog.Entry{Host: e.Host, Path: e.Link}, false)
	if err == nil && dir == nil {
		err = fs.ErrNotExist
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = dir.Lstat(base); err == nil && !info.Mode().IsRegular() {
			err = errors.New("is no file")
		}
	}
	if err != nil {
		return fmt.Errorf("%s:%s, which it is another name of: %w", e.Host, e.Link, err)
	}
	own, err := split(e.Host, e.Path)
	if err != nil {
		return err
	}
	return t.place(e, func(_ *os.Root, temp string) error {
		own[len(own)-1] = temp
		return t.root.Link(path.Join(first...), path.Join(own...))
	})
}

// place has something made under a temporary name and gives it its own.
func (t *target) place(e *catalog.Entry, make func(dir *os.Root, temp string) error) error {
	dir, base, err := t.at(e, true)
	if err != nil {
		return err
	}
	temp := t.temp()
	if err := make(dir, temp); err != nil {
		return err
	}
	return t.name(dir, temp, base)
}

func (t *target) temp() string {
	return fmt.Sprintf(".twintape-restore-%d-%d", os.Getpid(), t.temps.Add(1))
}

// name gives what is made its name. Only with overwrite it takes that of something else.
func (t *target) name(dir *os.Root, temp, base string) error {
	if t.overwrite {
		return dir.Rename(temp, base)
	}
	err := dir.Link(temp, base)
	if errors.Is(err, fs.ErrExist) {
		err = errExists
	}
	return errors.Join(err, dir.Remove(temp))
}

// file is a file that is being restored.
type file struct {
	*os.File
	t    *target
	e    catalog.Entry
	dir  *os.Root
	base string
	temp string
	sum  hash.Hash // of what was put
	n    int64

	failed error // writing it; set and read by who writes
}

// create begins a file.
func (t *target) create(e catalog.Entry) (*file, error) {
	dir, base, err := t.at(&e, true)
	if err != nil {
		return nil, err
	}
	// The target may go on to other folders before the file is done.
	if dir, err = dir.OpenRoot("."); err != nil {
		return nil, err
	}
	f := &file{t: t, e: e, dir: dir, base: base, temp: t.temp(), sum: digest.NewMD5()}
	if f.File, err = dir.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		dir.Close()
		return nil, err
	}
	return f, nil
}

// put writes the next bytes; who calls it gives them to sum, too.
func (f *file) put(p []byte) error {
	n, err := f.File.Write(p)
	f.n += int64(n)
	return err
}

// errSum says that the tape did not give back what was archived.
var errSum = errors.New("its MD5 is not the one that was archived")

// commit gives the file its attributes and its name, if all of it was written and it has the right MD5. It may be called
// while the target is used for others.
func (f *file) commit() error {
	defer f.dir.Close()
	err := errors.Join(f.settle(), f.File.Close())
	if err == nil {
		err = f.t.name(f.dir, f.temp, f.base)
	}
	if err != nil {
		f.dir.Remove(f.temp) //nolint:errcheck // it may be gone
	}
	return err
}

func (f *file) settle() error {
	if sum := catalog.MD5(f.sum.Sum(nil)); f.n != f.e.Size || sum != f.e.MD5 {
		return fmt.Errorf("%w: %s was expected, %s was read", errSum, f.e.MD5, sum)
	}
	if f.t.owners {
		if err := f.Chown(int(f.e.UID), int(f.e.GID)); err != nil {
			return err
		}
	}
	f.t.xattrs(int(f.Fd()), &f.e)
	if err := f.Chmod(f.t.mode(&f.e)); err != nil {
		return err
	}
	return f.dir.Chtimes(f.temp, f.e.MTime, f.e.MTime)
}

// abandon takes the file away.
func (f *file) abandon() {
	f.File.Close()
	f.dir.Remove(f.temp) //nolint:errcheck // there is nothing more to do about it
	f.dir.Close()
}

// mode are a member's permissions. Whoever cannot give it its owner does not give it the owner's rights either.
func (t *target) mode(e *catalog.Entry) fs.FileMode {
	m := e.FileMode() &^ fs.ModeType
	if !t.owners {
		m &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return m
}

func (t *target) xattrs(fd int, e *catalog.Entry) {
	for name, value := range e.Xattrs {
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil {
			t.lacking(e, fmt.Sprintf("extended attribute %s: %v", name, err))
		}
	}
}

// finish sets what directories look like, when nothing is made in them any more, the innermost first.
func (t *target) finish() error {
	var errs []error
	for _, e := range slices.Backward(t.folders) {
		if err := t.finishFolder(&e); err != nil {
			errs = append(errs, fmt.Errorf("%s:%s: %w", e.Host, e.Path, err))
		}
	}
	t.folders = nil
	f, err := t.root.Open(".")
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer f.Close()
	return errors.Join(append(errs, unix.Syncfs(int(f.Fd())))...)
}

func (t *target) finishFolder(e *catalog.Entry) error {
	dir, base, err := t.at(e, true)
	if err != nil {
		return err
	}
	f, err := dir.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	if t.owners {
		if err := f.Chown(int(e.UID), int(e.GID)); err != nil {
			return err
		}
	}
	t.xattrs(int(f.Fd()), e)
	if err := f.Chmod(t.mode(e)); err != nil {
		return err
	}
	return dir.Chtimes(base, e.MTime, e.MTime)
}
