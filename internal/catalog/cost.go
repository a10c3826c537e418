package catalog

import (
	"math"
	"strings"
	"time"
)

// The widest values of what is not known at planning.
var (
	widePlace = Place{Archive: math.MaxInt, Record: math.MaxInt64, Offset: math.MaxInt, Header: math.MaxInt}
	wideMD5   = MD5{0: 0xff}
	wideTime  = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
)

const wideUUID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

// Cost returns upper bounds, in bytes, of what the item adds to an archive and to its session's catalog, whatever becomes
// of it: an archive with at least one item has at most the sum of its items' archive bytes and ArchiveOverhead, a
// session's catalog at most the sum of the items' catalog bytes and SessionOverhead. An *EntryError says which member
// cannot be on tape as it is.
func (it *Item) Cost(recordSize int) (archive, catalog int64, err error) {
	if err := checkRecordSize(recordSize); err != nil {
		return 0, 0, err
	}
	if err := it.check(); err != nil {
		return 0, 0, err
	}
	wide := Item{ID: it.ID, Host: it.Host, Path: it.Path, Bad: strings.Repeat(`"`, maxItemReason)}
	var lines counter
	out := newLines(&lines)
	if err := wide.writeLines(out); err != nil {
		return 0, 0, err
	}
	lines += digits // of the count of members
	for i := range it.Entries {
		e := it.Entries[i]
		if err := e.Check(); err != nil {
			return 0, 0, err
		}
		e.MD5, e.Bad, e.Place = wideMD5, strings.Repeat(`"`, maxMemberReason), widePlace
		m := e.lineOf()
		if err := out.Encode(&m); err != nil {
			return 0, 0, err
		}
		if !e.Type.OnTape() {
			continue
		}
		n, err := headerSize(&e)
		if err != nil {
			return 0, 0, err
		}
		archive += int64(n) + padded(e.Size)
		if archive > maxSize {
			return 0, 0, e.refuse("the item would take more than %d bytes", int64(maxSize))
		}
		if e.Type == File {
			archive += sumSize(e.Host + e.Path)
		}
	}
	var manifest counter
	if err := it.writeManifest(&manifest); err != nil {
		return 0, 0, err
	}
	archive += int64(manifest)
	// Whichever item is the first one of its archive brings the archive's line and checksums.
	if err := out.Encode(&archiveLine{
		kind: kind{"archive"}, Number: math.MaxInt, TapeFile: math.MaxInt, Record: math.MaxInt64, Records: math.MaxInt64, Items: math.MaxInt,
	}); err != nil {
		return 0, 0, err
	}
	crcs := 4 * (records(archive, recordSize) + records(ArchiveOverhead(recordSize), recordSize))
	return archive, int64(lines) + crcs, nil
}

// digits is the length of the widest number.
const digits = 20

// ArchiveOverhead returns an upper bound of the bytes that an archive has beside its items, its padding to whole records
// included.
func ArchiveOverhead(recordSize int) int64 {
	a := &Archive{Session: wideUUID, Number: math.MaxInt}
	n := encodedSize(&manifestLine{
		kind: kind{"manifest"}, Version: math.MaxInt, Pair: wideUUID, Session: wideUUID, Job: wideUUID, Number: math.MaxInt, TapeFile: math.MaxInt,
		Record: math.MaxInt64, RecordSize: math.MaxInt, Items: math.MaxInt, Members: math.MaxInt,
	})
	n += ownOverhead(a.manifest(math.MaxInt64)) + ownOverhead(a.sums(math.MaxInt64))
	return n + trailer + int64(recordSize) - 1
}

// SessionOverhead returns an upper bound of the bytes that a session's catalog has beside its items, after the given
// number of earlier sessions, its padding to whole records included.
func SessionOverhead(recordSize, earlier int) int64 {
	s := Session{
		Pair: wideUUID, Session: wideUUID, Job: wideUUID, Number: math.MaxInt, RecordSize: math.MaxInt, Closed: wideTime, Record: math.MaxInt64,
	}
	e := Earlier{Session: wideUUID, TapeFile: math.MaxInt, Record: math.MaxInt64, MD5: wideMD5}
	n := encodedSize(s.lineOf()) + digits + int64(earlier)*encodedSize(e.lineOf())
	n += encodedSize(&endLine{kind: kind{"end"}, Archives: math.MaxInt64, Items: math.MaxInt64, Members: math.MaxInt64})
	for _, name := range []string{catalogName, crcsName, sumsName} {
		n += ownOverhead(s.own(name, math.MaxInt64))
	}
	n += int64(len(s.sumsText(MD5{}, MD5{})))
	return n + trailer + int64(recordSize) - 1
}

// ownOverhead is the header and the longest padding of one of twintape's own files.
func ownOverhead(e *Entry) int64 {
	var n counter
	if err := writeHeader(&n, e); err != nil {
		return 0
	}
	return int64(n) + block - 1
}

// encodedSize is the length of a line.
func encodedSize(v any) int64 {
	var n counter
	if err := newLines(&n).Encode(v); err != nil {
		return 0
	}
	return int64(n)
}
