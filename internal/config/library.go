package config

import (
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// kinds are the keys that only one kind of library has.
var kinds = map[string][]string{
	"virtual": {"dir", "timing"},
	"scsi":    {"changer", "drives", "media_suffix", "compression"},
}

func (c *checker) library(r *rawConfig, meta toml.MetaData, out *Config) {
	raw := &r.Library
	out.Library = Library{Kind: raw.Kind, Timing: raw.Timing, Compression: raw.Compression, StripMedia: raw.MediaSuffix == "strip"}
	switch raw.Kind {
	case "virtual":
		if out.Library.Dir = c.abs(raw.Dir); raw.Dir == "" {
			c.fault("library.dir", "is missing: name the folder of the virtual library")
		}
	case "scsi":
		c.nodes(raw.Changer, raw.Drives, out)
	case "":
		c.fault("library.kind", "is missing: use \"virtual\", or \"scsi\" for a real one")
		return
	default:
		c.fault("library.kind", "is %q: use \"virtual\", or \"scsi\" for a real one", raw.Kind)
		return
	}
	for kind, keys := range kinds {
		for _, key := range keys {
			if kind != raw.Kind && meta.IsDefined("library", key) {
				c.fault("library."+key, "is for libraries of kind %q; this one is %q: take it out", kind, raw.Kind)
			}
		}
	}
	switch raw.Timing {
	case "none", "lto5", "lto6", "lto7", "lto8", "lto9":
	default:
		c.fault("library.timing", "is %q: use \"none\", or \"lto5\" to \"lto9\" for drives as slow as real ones", raw.Timing)
	}
	if raw.MediaSuffix != "keep" && raw.MediaSuffix != "strip" {
		c.fault("library.media_suffix", "is %q: use \"keep\", or \"strip\" where PAPR1001L5 is to be called PAPR1001", raw.MediaSuffix)
	}
}

// nodes checks the device nodes of a real library. Whether they are there, and what they are, is seen when they are opened.
func (c *checker) nodes(changer string, drives []string, out *Config) {
	if changer == "" {
		c.fault("library.changer", "is missing: name the changer's node, such as \"/dev/sg3\"; `lsscsi -g` lists it as mediumx")
	} else if !filepath.IsAbs(changer) {
		c.fault("library.changer", "is %q: name a node from /, such as \"/dev/sg3\"", changer)
	}
	for i, d := range drives {
		if !filepath.IsAbs(d) {
			c.fault("library.drives", "%q: name a node from /, such as \"/dev/nst0\"", d)
		}
		if slices.Contains(drives[:i], d) {
			c.fault("library.drives", "%q is named twice", d)
		}
	}
	out.Library.Changer, out.Library.Drives = changer, drives
}
