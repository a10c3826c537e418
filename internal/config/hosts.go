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
		switch h.Source {
		case "local":
			if o.Root = c.abs(h.Root); o.Root == "" {
				o.Root = "/"
			}
			for _, kv := range [][2]string{{"address", h.Address}, {"user", h.User}, {"identity_file", h.IdentityFile}, {"known_hosts", h.KnownHosts}, {"ssh_config", h.SSHConfig}} {
				if kv[1] != "" {
					c.fault("host."+kv[0], "host %s is local: take the key out", name)
				}
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
			if o.Root == "" {
				o.Root = "/"
			}
			if !path.IsAbs(o.Root) {
				c.fault("host.root", "host %s: %q is a folder of that host: give it from / on", name, h.Root)
			}
		case "nfs":
			c.fault("host.source", "host %s: NFS is not in this version: mount it and use \"local\", or use \"sftp\"", name)
		default:
			c.fault("host.source", "host %s: is %q: use \"local\" or \"sftp\"", name, h.Source)
		}
		out.Hosts = append(out.Hosts, o)
	}
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
