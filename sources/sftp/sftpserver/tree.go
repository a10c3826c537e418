package sftpserver

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
)

// tree answers requests from one folder.
type tree struct{ root *os.Root }

var (
	_ sftp.FileReader         = (*tree)(nil)
	_ sftp.LstatFileLister    = (*tree)(nil)
	_ sftp.ReadlinkFileLister = (*tree)(nil)
)

// local turns a client's cleaned absolute path into one below the root.
func local(p string) string {
	if p = strings.TrimPrefix(p, "/"); p == "" {
		return "."
	}
	return p
}

func (t *tree) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	f, err := t.root.OpenFile(local(r.Filepath), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hang the session
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file (%v)", fi.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Filewrite and Filecmd refuse everything: the folder is served read-only.
func (t *tree) Filewrite(*sftp.Request) (io.WriterAt, error) {
	return nil, sftp.ErrSSHFxPermissionDenied
}
func (t *tree) Filecmd(*sftp.Request) error { return sftp.ErrSSHFxPermissionDenied }

func (t *tree) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		dir, err := t.root.Open(local(r.Filepath))
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		infos, err := dir.Readdir(-1)
		return list(infos), err
	case "Stat":
		fi, err := t.root.Stat(local(r.Filepath))
		return list{fi}, err
	default:
		return nil, sftp.ErrSSHFxOpUnsupported
	}
}

func (t *tree) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	fi, err := t.root.Lstat(local(r.Filepath))
	return list{fi}, err
}

func (t *tree) Readlink(p string) (string, error) { return t.root.Readlink(local(p)) }

// list is a listing that was read as a whole.
type list []fs.FileInfo

func (l list) ListAt(into []os.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}
