package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/sources"
)

// Look is what an item looks like at its source.
type Look struct {
	Item        catalog.Item // entries without places
	Bytes       int64        // sum of the regular files' sizes
	Members     int64
	Fingerprint catalog.MD5
}

// Collect walks an item at its source. Symlinks are not followed; a mount point inside the item is an error, since what
// lies behind it would silently be taken or left.
func Collect(ctx context.Context, src sources.Source, host, root string) (*Look, error) {
	c := &collector{src: src, host: host, links: make(map[[2]uint64]string)}
	c.look.Item = catalog.Item{Host: host, Path: root}
	info, err := src.Stat(ctx, root)
	if err != nil {
		return nil, err
	}
	c.dev = info.Dev
	if err := c.add(ctx, root, info); err != nil {
		return nil, err
	}
	for i := range c.look.Item.Entries {
		c.look.Bytes += c.look.Item.Entries[i].Size
	}
	c.look.Members = int64(len(c.look.Item.Entries))
	c.look.Fingerprint = Fingerprint(&c.look.Item)
	return &c.look, nil
}

// Fingerprint is what the queue tells an item's versions by: it is over all members' paths, types, sizes and mtimes;
// directories' mtimes do not count.
func Fingerprint(it *catalog.Item) catalog.MD5 {
	sum := digest.NewMD5()
	for i := range it.Entries {
		e := &it.Entries[i]
		line := append([]byte(e.Path), 0)
		line = append(line, e.Type...)
		if e.Type != catalog.Dir {
			line = strconv.AppendInt(append(line, 0), e.Size, 10)
			line = strconv.AppendInt(append(line, 0), e.MTime.UnixNano(), 10)
		}
		sum.Write(append(line, '\n'))
	}
	return catalog.MD5(sum.Sum(nil))
}

type collector struct {
	src   sources.Source
	host  string
	dev   uint64
	links map[[2]uint64]string // first names of files with several links, by device and inode
	look  Look
}

func (c *collector) add(ctx context.Context, p string, info sources.Info) error {
	e := entry(c.host, p, info)
	if info.Nlink > 0 && info.Dev != c.dev {
		return &sources.Error{Op: "archive", Host: c.host, Path: p, Err: errors.New(
			"another file system is mounted here, inside the item: queue it as an item of its own, or unmount it")}
	}
	if e.Type == catalog.File && info.Nlink > 1 {
		id := [2]uint64{info.Dev, info.Inode}
		if first, ok := c.links[id]; ok {
			e.Type, e.Link, e.Size = catalog.Hardlink, first, 0
		} else {
			c.links[id] = p
		}
	}
	var err error
	if e.Type == catalog.Symlink {
		if e.Link, err = c.src.Readlink(ctx, p); err != nil {
			return err
		}
	}
	if x, ok := c.src.(sources.XattrReader); ok && e.Type.OnTape() && e.Type != catalog.Hardlink {
		if e.Xattrs, err = x.Xattrs(ctx, p); err != nil {
			return err
		}
	}
	c.look.Item.Entries = append(c.look.Item.Entries, e)
	if e.Type != catalog.Dir {
		return nil
	}
	list, err := c.src.ReadDir(ctx, p)
	if err != nil {
		return err
	}
	for _, child := range list {
		if err := c.add(ctx, path.Join(p, child.Name), child); err != nil {
			return err
		}
	}
	return nil
}

// entry is the catalog's view of a directory entry.
func entry(host, p string, info sources.Info) catalog.Entry {
	e := catalog.Entry{
		Host: host, Path: p, Type: typeOf(info.Mode), Mode: unixMode(info.Mode),
		MTime: info.MTime.UTC(), CTime: info.CTime.UTC(),
		UID: info.UID, GID: info.GID, User: info.User, Group: info.Group,
	}
	if e.Type == catalog.File {
		e.Size = info.Size
	}
	return e
}

func typeOf(m fs.FileMode) catalog.Type {
	switch {
	case m.IsRegular():
		return catalog.File
	case m.IsDir():
		return catalog.Dir
	case m&fs.ModeSymlink != 0:
		return catalog.Symlink
	case m&fs.ModeNamedPipe != 0:
		return catalog.FIFO
	case m&fs.ModeSocket != 0:
		return catalog.Socket
	default:
		return catalog.Device
	}
}

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// Unchanged compares an item with its source: the names in every directory, and every entry's type, size, mtime and,
// where the source knows it, ctime. The error names the first difference.
func Unchanged(ctx context.Context, src sources.Source, it *catalog.Item) error {
	planned := make(map[string]*catalog.Entry, len(it.Entries))
	for i := range it.Entries {
		planned[it.Entries[i].Path] = &it.Entries[i]
	}
	root, err := src.Stat(ctx, it.Path)
	if err != nil {
		return err
	}
	if err := SameEntry(planned[it.Path], root); err != nil {
		return err
	}
	for i := range it.Entries {
		dir := &it.Entries[i]
		if dir.Type != catalog.Dir {
			continue
		}
		list, err := src.ReadDir(ctx, dir.Path)
		if err != nil {
			return err
		}
		for _, info := range list {
			p := path.Join(dir.Path, info.Name)
			e := planned[p]
			if e == nil {
				return fmt.Errorf("%s:%s appeared meanwhile", it.Host, p)
			}
			if err := SameEntry(e, info); err != nil {
				return err
			}
			delete(planned, p)
		}
	}
	delete(planned, it.Path)
	for p := range planned {
		return fmt.Errorf("%s:%s vanished meanwhile", it.Host, p)
	}
	return nil
}

// SameEntry compares an entry with how its source looks now: type, size, mtime and, where both are known, ctime; of a
// directory the type alone. The error says what differs.
func SameEntry(e *catalog.Entry, info sources.Info) error {
	now := entry(e.Host, e.Path, info)
	if e.Type == catalog.Hardlink && now.Type == catalog.File {
		now.Type, now.Size = catalog.Hardlink, 0
	}
	var what string
	switch {
	case e.Type != now.Type:
		what = fmt.Sprintf("was a %s and is a %s now", e.Type, now.Type)
	case e.Type == catalog.Dir: // its entries are compared one by one
	case e.Size != now.Size:
		what = fmt.Sprintf("had %d bytes and has %d now", e.Size, now.Size)
	case !e.MTime.Equal(now.MTime):
		what = fmt.Sprintf("was modified at %s", now.MTime)
	case !e.CTime.IsZero() && !now.CTime.IsZero() && !e.CTime.Equal(now.CTime):
		what = fmt.Sprintf("had its attributes changed at %s", now.CTime)
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("%s:%s changed meanwhile: it %s", e.Host, e.Path, what)
}
