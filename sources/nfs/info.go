package nfs

import (
	"io/fs"
	"path"
	"time"

	"twintape/sources"
)

// info puts attributes into the interface's words. The host's names of users and groups are unknown: the protocol has
// numbers only.
func info(p string, a *attr) sources.Info {
	i := sources.Info{
		Name: path.Base(p), Mode: fileMode(a), MTime: a.mtime, CTime: a.ctime, UID: a.uid, GID: a.gid,
		Dev: a.fsid, Inode: a.fileid, Nlink: a.nlink,
	}
	if i.Mode.IsRegular() || i.Mode.Type() == fs.ModeSymlink {
		i.Size = int64(a.size)
	}
	return i
}

func fileMode(a *attr) fs.FileMode {
	types := [...]fs.FileMode{
		typeRegular: 0, typeDir: fs.ModeDir, 3: fs.ModeDevice, 4: fs.ModeDevice | fs.ModeCharDevice, typeSymlink: fs.ModeSymlink,
		6: fs.ModeSocket, 7: fs.ModeNamedPipe,
	}
	mode := types[a.kind] | fs.FileMode(a.mode&0o777)
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if a.mode&bit != 0 {
			mode |= m
		}
	}
	return mode
}

// syntheticInfo is what a directory looks like that leads to exports and lies in none. It has no identity.
func syntheticInfo(p string) sources.Info {
	return sources.Info{Name: path.Base(p), Mode: fs.ModeDir | 0o555, MTime: time.Unix(0, 0)}
}
