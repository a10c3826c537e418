package local

import (
	"io/fs"
	"os/user"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"twintape/sources"
)

func (s *Source) fstat(fd int, name string) (sources.Info, error) {
	var st unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return sources.Info{}, err
	}
	return s.info(name, &st), nil
}

func (s *Source) info(name string, st *unix.Stat_t) sources.Info {
	info := sources.Info{
		Name:  name,
		Mode:  fileMode(st.Mode),
		MTime: time.Unix(st.Mtim.Unix()),
		CTime: time.Unix(st.Ctim.Unix()),
		UID:   st.Uid,
		GID:   st.Gid,
		User:  s.owners.user(st.Uid),
		Group: s.owners.group(st.Gid),
		Dev:   st.Dev,
		Inode: st.Ino,
		Nlink: uint32(st.Nlink),
	}
	if info.Mode.IsRegular() || info.Mode.Type() == fs.ModeSymlink {
		info.Size = st.Size
	}
	return info
}

func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// owners remembers the names of this machine's users and groups; an unknown number has an empty name.
type owners struct{ users, groups sync.Map }

func (o *owners) user(uid uint32) string {
	return remember(&o.users, uid, func(id string) string {
		u, err := user.LookupId(id)
		if err != nil {
			return ""
		}
		return u.Username
	})
}

func (o *owners) group(gid uint32) string {
	return remember(&o.groups, gid, func(id string) string {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return ""
		}
		return g.Name
	})
}

func remember(m *sync.Map, id uint32, lookup func(id string) string) string {
	if name, ok := m.Load(id); ok {
		return name.(string)
	}
	name := lookup(strconv.FormatUint(uint64(id), 10))
	m.Store(id, name)
	return name
}
