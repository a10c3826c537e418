package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// target is how one SSH server is reached: as the configuration says, else as ssh_config(5) says, else as OpenSSH would.
type target struct {
	addr       string // host:port
	login      string
	identities []string // private keys that are tried; none: only the agent's
	agent      bool     // the agent's keys are tried too
	knownHosts []string // files of trusted host keys
	jumps      []string // servers on the way, the nearest first, as ProxyJump spells them: [user@]host[:port]
}

// resolve finds out how the configured host is reached. The file is read each time, so that what was mended in it counts
// at the next attempt.
func (cfg *Config) resolve() (*target, error) {
	settings, err := readSSHConfig(cfg.SSHConfig)
	if err != nil {
		return nil, err
	}
	t, err := settings.target(cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.User != "" {
		t.login = cfg.User
	}
	if cfg.IdentityFile != "" {
		t.identities, t.agent = []string{cfg.IdentityFile}, false
	}
	if cfg.KnownHosts != "" {
		t.knownHosts = []string{cfg.KnownHosts}
	}
	return t, nil
}

// hop finds out how a server on the way is reached. It has its own lines in ssh_config; what is configured for the host
// itself counts for it where they say nothing, so that a host and its gateway can share a key and a known_hosts file.
func (cfg *Config) hop(jump string) (*target, error) {
	settings, err := readSSHConfig(cfg.SSHConfig)
	if err != nil {
		return nil, err
	}
	login, addr, named := strings.Cut(jump, "@")
	if !named {
		login, addr = "", jump
	}
	t, err := settings.target(addr)
	if err != nil {
		return nil, err
	}
	if named {
		t.login = login
	}
	if len(t.jumps) > 0 {
		return nil, fmt.Errorf("%s has a ProxyJump of its own: name all servers on the way, nearest first, in the host's ProxyJump", jump)
	}
	if cfg.IdentityFile != "" && len(t.identities) == 0 {
		t.identities = []string{cfg.IdentityFile}
	}
	if cfg.KnownHosts != "" {
		t.knownHosts = append([]string{cfg.KnownHosts}, t.knownHosts...)
	}
	return t, nil
}

// sshConfig is a read ssh_config file; nil if there is none.
type sshConfig struct {
	file    string
	content *ssh_config.Config
}

func readSSHConfig(file string) (sshConfig, error) {
	s := sshConfig{file: file}
	if file == "" {
		return s, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		s.content, err = ssh_config.DecodeBytes(text)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w; mend it, or set ssh_config = \"none\" for the host and give its address, user, identity_file and known_hosts", file, err)
	}
	return s, nil
}

// all returns every value of a keyword for a name, in the file's order.
func (s sshConfig) all(name, keyword string) ([]string, error) {
	if s.content == nil {
		return nil, nil
	}
	values, err := s.content.GetAll(name, keyword)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.file, keyword, err)
	}
	return values, nil
}

// target is what the file says of an address, host or host:port, with OpenSSH's defaults.
func (s sshConfig) target(addr string) (*target, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		name, port = strings.Trim(addr, "[]"), ""
	}
	var errs []error
	first := func(keyword, otherwise string) string {
		values, err := s.all(name, keyword)
		errs = append(errs, err)
		if len(values) == 0 {
			return otherwise
		}
		return values[0]
	}
	if port == "" {
		port = first("Port", "22")
	}
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("who runs this is unknown: %w", err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	t := &target{agent: true, login: first("User", me.Username)}
	host := strings.NewReplacer("%%", "%", "%h", name).Replace(first("HostName", name))
	t.addr = net.JoinHostPort(host, port)
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(home, rest)
		}
		return strings.NewReplacer("%%", "%", "%d", home, "%h", host, "%n", name, "%p", port, "%r", t.login, "%u", me.Username).Replace(path)
	}

	identities, err := s.all(name, "IdentityFile")
	errs = append(errs, err)
	for _, file := range identities {
		t.identities = append(t.identities, expand(file))
	}
	if strings.EqualFold(first("IdentitiesOnly", "no"), "yes") && len(t.identities) > 0 {
		t.agent = false
	}
	for _, file := range strings.Fields(first("UserKnownHostsFile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")) {
		t.knownHosts = append(t.knownHosts, expand(file))
	}
	if jumps := first("ProxyJump", "none"); !strings.EqualFold(jumps, "none") {
		t.jumps = strings.Split(strings.ReplaceAll(jumps, " ", ""), ",")
	}
	if command := first("ProxyCommand", "none"); len(t.jumps) == 0 && !strings.EqualFold(command, "none") {
		errs = append(errs, fmt.Errorf("%s: host %s is reached by a ProxyCommand, which is not supported: use ProxyJump", s.file, name))
	}
	if slices.Contains(t.jumps, "") {
		errs = append(errs, fmt.Errorf("%s: ProxyJump of %s: a server's name is empty", s.file, name))
	}
	return t, errors.Join(errs...)
}
