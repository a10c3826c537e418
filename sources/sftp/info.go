package sftp

import (
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pkg/sftp"

	"twintape/sources"
)

// names are the host's users and groups by number.
type names struct{ users, groups map[uint32]string }

func (n *names) info(name string, fi fs.FileInfo) sources.Info {
	info := sources.Info{Name: name, Mode: fi.Mode(), MTime: fi.ModTime()}
	if info.Mode.IsRegular() || info.Mode.Type() == fs.ModeSymlink {
		info.Size = fi.Size()
	}
	if st, ok := fi.Sys().(*sftp.FileStat); ok {
		info.UID, info.GID = st.UID, st.GID
		info.User, info.Group = n.users[st.UID], n.groups[st.GID]
	}
	return info
}

// maxAccounts bounds what is read of the host's /etc/passwd and /etc/group, in bytes.
const maxAccounts = 1 << 20

// readNames reads the host's accounts. A host that does not show them has none; an error is one of the connection.
func readNames(client *sftp.Client) (*names, error) {
	users, err := readAccounts(client, "/etc/passwd")
	if err != nil {
		return nil, err
	}
	groups, err := readAccounts(client, "/etc/group")
	if err != nil {
		return nil, err
	}
	return &names{parseAccounts(users), parseAccounts(groups)}, nil
}

func readAccounts(client *sftp.Client, path string) (string, error) {
	fi, err := client.Stat(path)
	if err == nil && !fi.Mode().IsRegular() {
		return "", nil
	}
	if err != nil {
		return "", onlyConnection(err)
	}
	f, err := client.Open(path)
	if err != nil {
		return "", onlyConnection(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	return string(data), onlyConnection(err)
}

// onlyConnection drops what the server said about a path.
func onlyConnection(err error) error {
	if isPathError(err) {
		return nil
	}
	return err
}

// isPathError says that the server answered, and that the answer was no.
func isPathError(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// parseAccounts reads lines of name:password:number:… The first of several names of a number counts, as for the host.
func parseAccounts(text string) map[uint32]string {
	accounts := make(map[uint32]string)
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") && len(text) >= maxAccounts {
			break // cut in the middle
		}
		fields := strings.SplitN(line, ":", 4)
		if len(fields) < 4 || fields[0] == "" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if _, known := accounts[uint32(id)]; !known {
			accounts[uint32(id)] = fields[0]
		}
	}
	return accounts
}
