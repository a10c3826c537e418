package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (c *checker) hosts(r *rawConfig, out *Config) {
	taken := make(map[string]string)
	defer func() { c.host = 0 }()
	for i, h := range r.Hosts {
		c.host = i + 1
		name := h.Name
		if name == "" {
			c.fault("host.name", "is missing from the %s host", ordinal(i+1))
			continue
		}
		for j, n := range append([]string{name}, h.Aliases...) {
			key := "host.name"
			if j > 0 {
				key = "host.aliases"
			}
			switch {
			case !hostName.MatchString(n):
				c.fault(key, "%q: use letters, digits, dots, hyphens and underscores, a letter or digit first", n)
			case n == "tapes":
				c.fault(key, "\"tapes\" is where the catalogs are shown: choose another name")
			case taken[n] != "":
				c.fault(key, "%q is given to host %s and to host %s", n, taken[n], name)
			}
			taken[n] = name
		}
		o := Host{
			Name: name, Aliases: slices.Clone(h.Aliases), Source: h.Source, Address: h.Address, User: h.User,
			IdentityFile: c.abs(home(h.IdentityFile)), KnownHosts: c.abs(home(h.KnownHosts)), Root: h.Root,
		}
		c.others(&h)
		switch h.Source {
		case "local":
			if o.Root = c.abs(h.Root); o.Root == "" {
				o.Root = "/"
			}
		case "sftp":
			switch h.SSHConfig {
			case "none":
			case "":
				o.SSHConfig = home("~/.ssh/config")
			default:
				o.SSHConfig = c.abs(home(h.SSHConfig))
			}
			if o.Address == "" {
				o.Address = name
			}
			if !address(o.Address) {
				c.fault("host.address", "host %s: %q is no address: write it as \"pot5.example.org\", \"pot5.example.org:22\" or \"[2001:db8::5]:22\"", name, o.Address)
			}
			c.remoteRoot(&o)
		case "nfs":
			c.nfs(&h, &o)
			c.remoteRoot(&o)
		default:
			c.fault("host.source", "host %s: is %q: use \"local\", \"sftp\" or \"nfs\"", name, h.Source)
		}
		out.Hosts = append(out.Hosts, o)
	}
}

// others faults keys that belong to other kinds of hosts than this one.
func (c *checker) others(h *rawHost) {
	for _, k := range []struct {
		key   string
		given bool
		kinds string
	}{
		{"address", h.Address != "", "sftp nfs"}, {"user", h.User != "", "sftp"}, {"identity_file", h.IdentityFile != "", "sftp"},
		{"known_hosts", h.KnownHosts != "", "sftp"}, {"ssh_config", h.SSHConfig != "", "sftp"}, {"exports", h.Exports != nil, "nfs"}, {"uid", h.UID != nil, "nfs"},
		{"gid", h.GID != nil, "nfs"}, {"gids", h.GIDs != nil, "nfs"}, {"nfs_port", h.NFSPort != nil, "nfs"}, {"mount_port", h.MountPort != nil, "nfs"},
	} {
		if k.given && slices.Contains([]string{"local", "sftp", "nfs"}, h.Source) && !strings.Contains(k.kinds, h.Source) {
			c.fault("host."+k.key, "host %s is %s: take the key out", h.Name, h.Source)
		}
	}
}

// remoteRoot checks the root of a host that has a tree of its own.
func (c *checker) remoteRoot(o *Host) {
	if o.Root == "" {
		o.Root = "/"
	}
	if !path.IsAbs(o.Root) {
		c.fault("host.root", "host %s: %q is a folder of that host: give it from / on", o.Name, o.Root)
	}
}

// maxGIDs is how many further groups NFS carries.
const maxGIDs = 16

// nfs checks what only NFS hosts have.
func (c *checker) nfs(h *rawHost, o *Host) {
	if o.Address == "" {
		o.Address = o.Name
	}
	if _, _, err := net.SplitHostPort(o.Address); err == nil || !address(o.Address) {
		c.fault("host.address", "host %s: %q is no address: write it as \"pot6.example.org\" or \"2001:db8::6\"; ports are nfs_port and mount_port", o.Name, o.Address)
	}
	for _, e := range h.Exports {
		if !path.IsAbs(e) {
			c.fault("host.exports", "host %s: %q is a folder of that host: give it from / on, as its server exports it", o.Name, e)
		}
	}
	if h.Exports != nil && len(h.Exports) == 0 {
		c.fault("host.exports", "host %s: is empty: name the exports, or take the key out to have what the server lists", o.Name)
	}
	o.Exports = h.Exports
	o.NFSPort, o.MountPort = c.port("host.nfs_port", o, h.NFSPort), c.port("host.mount_port", o, h.MountPort)
	if h.UID == nil && h.GID == nil && h.GIDs == nil {
		return
	}
	if h.UID == nil || h.GID == nil {
		key := "host.uid"
		if h.UID != nil {
			key = "host.gid"
		}
		c.fault(key, "host %s: is missing: give uid and gid together, or neither to read as who runs twintape", o.Name)
		return
	}
	o.Owner = &Owner{UID: c.id("host.uid", o, *h.UID), GID: c.id("host.gid", o, *h.GID)}
	if len(h.GIDs) > maxGIDs {
		c.fault("host.gids", "host %s: has %d groups: NFS carries %d", o.Name, len(h.GIDs), maxGIDs)
	}
	for _, g := range h.GIDs {
		o.Owner.GIDs = append(o.Owner.GIDs, c.id("host.gids", o, g))
	}
}

func (c *checker) port(key string, o *Host, port *int64) int {
	if port == nil {
		return 0
	}
	if *port < 1 || *port > 65535 {
		c.fault(key, "host %s: %d is no port: use 1 to 65535", o.Name, *port)
	}
	return int(*port)
}

func (c *checker) id(key string, o *Host, id int64) uint32 {
	if id < 0 || id > 1<<32-1 {
		c.fault(key, "host %s: %d is no number of a user or group", o.Name, id)
	}
	return uint32(id)
}

// address says whether s is a host or an IP address, with or without a port.
func address(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			return true
		}
		return s != "" && !strings.ContainsAny(s, ":[]/@ ")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@ ")
}

// home replaces a leading ~/.
func home(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	return p
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
