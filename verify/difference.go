package verify

import (
	"fmt"
	"maps"
	"time"

	"twintape/internal/catalog"
)

// difference is one field that two descriptions of the same thing do not agree on.
type difference struct{ field, expected, found string }

// differ compares a field and puts it on d unless it agrees, or d has another difference already.
func (d *difference) differ(same bool, field, format string, expected, found any) {
	if !same && d.field == "" {
		*d = difference{field, fmt.Sprintf(format, expected), fmt.Sprintf(format, found)}
	}
}

// metadata compares what a tar header says of a member.
func metadata(e, f *catalog.Entry) (difference, bool) {
	var d difference
	d.differ(f.Host == e.Host, "host", "%s", e.Host, f.Host)
	d.differ(f.Path == e.Path, "path", "%q", e.Path, f.Path)
	d.differ(f.Type == e.Type, "type", "%s", e.Type, f.Type)
	d.differ(f.Size == e.Size, "size", "%d", e.Size, f.Size)
	d.differ(f.Mode == e.Mode, "mode", "%#o", e.Mode, f.Mode)
	d.differ(mtime(f).Equal(mtime(e)), "modification time", "%v", mtime(e), mtime(f))
	d.differ(f.UID == e.UID, "uid", "%d", e.UID, f.UID)
	d.differ(f.GID == e.GID, "gid", "%d", e.GID, f.GID)
	d.differ(f.User == e.User, "user", "%q", e.User, f.User)
	d.differ(f.Group == e.Group, "group", "%q", e.Group, f.Group)
	d.differ(f.Link == e.Link, "link", "%q", e.Link, f.Link)
	d.differ(maps.Equal(f.Xattrs, e.Xattrs), "extended attributes", "%q", e.Xattrs, f.Xattrs)
	return d, d.field != ""
}

// mtime is what a tar header has for a member whose time is not known.
func mtime(e *catalog.Entry) time.Time {
	if e.MTime.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return e.MTime
}

// differences compares a session's catalog with the ledger. It keeps the first difference and counts all.
type differences struct {
	first Mismatch
	count int
}

func (d *differences) add(archive int, record int64, host, path string, diff difference) {
	if d.count++; d.count > 1 {
		return
	}
	d.first = Mismatch{
		Kind: KindCatalog, Archive: archive, Record: record, Host: host, Path: path,
		Expected: diff.expected, Found: diff.found, Reason: diff.field + " in the catalog differs from the ledger",
	}
}

// archives compares one archive, of which either may be nil, as the ledger and as the tape has it.
func (d *differences) archives(l, t *catalog.Archive) {
	var diff difference
	switch {
	case l == nil:
		d.add(t.Number, t.Record, "", "", difference{"the number of archives", "no such archive", fmt.Sprintf("archive %d", t.Number)})
		return
	case t == nil:
		d.add(l.Number, l.Record, "", "", difference{"the number of archives", fmt.Sprintf("archive %d", l.Number), "no such archive"})
		return
	}
	diff.differ(t.Number == l.Number, "archive number", "%d", l.Number, t.Number)
	diff.differ(t.TapeFile == l.TapeFile, "tape file", "%d", l.TapeFile, t.TapeFile)
	diff.differ(t.Record == l.Record, "first record", "%d", l.Record, t.Record)
	diff.differ(len(t.Items) == len(l.Items), "the number of items", "%d", len(l.Items), len(t.Items))
	if diff.field != "" {
		d.add(t.Number, t.Record, "", "", diff)
	}
	for n := range min(len(t.Items), len(l.Items)) {
		d.items(t, &l.Items[n], &t.Items[n])
	}
}

func (d *differences) items(a *catalog.Archive, l, t *catalog.Item) {
	var diff difference
	diff.differ(t.Host == l.Host, "an item's host", "%s", l.Host, t.Host)
	diff.differ(t.Path == l.Path, "an item's path", "%q", l.Path, t.Path)
	diff.differ(t.ID == l.ID || t.ID == 0 || l.ID == 0, "an item's number", "%d", l.ID, t.ID)
	diff.differ((t.Bad == "") == (l.Bad == ""), "whether an item is bad", "%q", l.Bad, t.Bad) // the catalog clips reasons
	diff.differ(len(t.Entries) == len(l.Entries), "the number of an item's members", "%d", len(l.Entries), len(t.Entries))
	if diff.field != "" {
		d.add(a.Number, a.Record, t.Host, t.Path, diff)
	}
	for n := range min(len(t.Entries), len(l.Entries)) {
		e, f := &l.Entries[n], &t.Entries[n]
		diff, _ := metadata(e, f)
		diff.differ(f.MD5 == e.MD5, "md5", "%s", e.MD5, f.MD5)
		diff.differ((f.Bad == "") == (e.Bad == ""), "whether a member is bad", "%q", e.Bad, f.Bad)
		diff.differ(f.Place == e.Place || !f.Type.OnTape(), "place", "%+v", e.Place, f.Place)
		if diff.field != "" {
			d.add(a.Number, f.Record, f.Host, f.Path, diff)
		}
	}
}
