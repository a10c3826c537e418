package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"twintape/internal/event"
)

// mostMismatches is how many mismatches a report lists; the rest is counted.
const mostMismatches = 1000

// runBytes is the length of the damage that MissRun asks about: about what a fault of the medium or a lost drive buffer
// takes.
const runBytes = 64 << 20

// Report says what one check of one tape read and found.
type Report struct {
	Barcode string    `json:"barcode"`
	Drive   string    `json:"drive"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`

	Seed      uint64  `json:"seed"`
	Sample    float64 `json:"sample"`         // the fraction of items asked for; 1 is every byte
	Escalated bool    `json:"escalated"`      // a mismatch made a sample a full check
	Only      []int   `json:"only,omitempty"` // the archives that were read, in full, if not all; what follows is of them
	Good      bool    `json:"good"`           // the check came to its end and found no mismatch

	Archives   int   `json:"archives"`
	ItemsTotal int   `json:"items_total"` // on the tape, without those the catalog calls bad
	ItemsRead  int   `json:"items_read"`  // of these, with all members read from beginning to end
	BytesTotal int64 `json:"bytes_total"` // of the records of label, catalogs and archives
	BytesRead  int64 `json:"bytes_read"`  // of these, read at their full length and checked
	Retried    int64 `json:"retried"`     // records that were read at the second attempt only
	DataTotal  int64 `json:"data_total"`  // bytes of the members' data of ItemsTotal
	DataRead   int64 `json:"data_read"`   // of these, in members that were read entirely and matched

	Mismatches []Mismatch `json:"mismatches"`         // in the order found; the first mostMismatches
	Unlisted   int        `json:"unlisted,omitempty"` // further mismatches

	// MissItem is the chance that damage to one item, any with the same chance, was not seen because the item was not read
	// entirely.
	MissItem float64 `json:"miss_item"`
	// MissRun is the chance that damage to RunRecords consecutive records of the archives (64 MiB, or all if there are
	// fewer), anywhere with the same chance, was not seen because none of them was read.
	MissRun    float64 `json:"miss_run"`
	RunRecords int64   `json:"run_records"`

	Items []Item `json:"items"` // in tape order, without those the catalog calls bad
}

// Item says what was read of one item.
type Item struct {
	ID      int64  `json:"id"` // the ledger's number; 0 if not known, or if the ledger counts on another copy
	Session string `json:"session"`
	Archive int    `json:"archive"`
	Host    string `json:"host"`
	Path    string `json:"-"`
	Read    int64  `json:"read"`          // bytes of members' data that were read and matched
	Full    bool   `json:"full"`          // all members were read and matched
	Bad     string `json:"bad,omitempty"` // why the copy on this tape is bad; empty if nothing was found against it
}

// Kind is what a mismatch is about.
type Kind string

// The kinds of mismatches.
const (
	KindLabel     Kind = "label"     // the volume label is unreadable or not as it was written
	KindIdentity  Kind = "identity"  // another tape than expected
	KindCatalog   Kind = "catalog"   // a session's catalog is unreadable or differs from the ledger
	KindRecord    Kind = "record"    // a record of an archive is unreadable or changed
	KindMember    Kind = "member"    // a member's header or data is not what the catalog says
	KindStructure Kind = "structure" // records, filemarks or the end of data are not where they should be
)

// Mismatch is one thing that a tape did not give back as expected. Host and Path name the member it is about, or for a
// record the nearest one.
type Mismatch struct {
	Barcode  string `json:"barcode"`
	Kind     Kind   `json:"kind"`
	Archive  int    `json:"archive,omitempty"` // archive number; 0 if it is not about one
	Record   int64  `json:"record"`            // logical block number
	Host     string `json:"host,omitempty"`
	Path     string `json:"-"`
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	Reason   string `json:"reason"` // a sentence for the operator
}

func (m Mismatch) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", m.Barcode, m.Reason)
	if m.Expected != "" || m.Found != "" {
		fmt.Fprintf(&b, ": expected %s, found %s", m.Expected, m.Found)
	}
	where := fmt.Sprintf("record %d", m.Record)
	if m.Archive != 0 {
		where = fmt.Sprintf("archive %d, %s", m.Archive, where)
	}
	if m.Path != "" {
		near := ""
		if m.Kind != KindMember {
			near = "near "
		}
		where += fmt.Sprintf(", %s%s", near, name(m.Host, m.Path))
	}
	fmt.Fprintf(&b, " (%s)", where)
	return b.String()
}

// name spells a remote path so that it fits on one line.
func name(host, path string) string {
	s := host + ":" + path
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q
	}
	return s
}

// BadArchives are the numbers of the archives that something was found against; all that were read, if what was found does
// not tell of which.
func (r *Report) BadArchives() []int {
	bad := make(map[int]bool)
	for _, m := range r.Mismatches {
		bad[m.Archive] = true
	}
	all := bad[0] || r.Unlisted > 0
	delete(bad, 0)
	for _, it := range r.Items {
		if all || it.Bad != "" {
			bad[it.Archive] = true
		}
	}
	return slices.Sorted(maps.Keys(bad))
}

// String is what an operator needs to know, in a few lines.
func (r *Report) String() string {
	var b strings.Builder
	verdict := "GOOD"
	switch {
	case len(r.Mismatches) > 0:
		verdict = "BAD"
	case !r.Good:
		verdict = "NOT JUDGED, the check did not come to its end"
	}
	fmt.Fprintf(&b, "%s on %s: %s\n", r.Barcode, r.Drive, verdict)
	how := fmt.Sprintf("a sample of %.4g %%, seed %d", 100*r.Sample, r.Seed)
	switch {
	case r.Escalated:
		how += ", made a full check by a mismatch"
	case len(r.Only) > 0:
		how = fmt.Sprintf("archives %v in full", r.Only)
	case r.Sample >= 1:
		how = "a full check"
	}
	fmt.Fprintf(&b, "  read %d of %d items, %s of %s, in %s (%s)\n", r.ItemsRead, r.ItemsTotal, size(r.BytesRead),
		size(r.BytesTotal), r.Ended.Sub(r.Began).Round(time.Second), how)
	if r.Retried > 0 {
		fmt.Fprintf(&b, "  %d records were read at the second attempt only\n", r.Retried)
	}
	if r.Good && (r.MissItem > 0 || r.MissRun > 0) {
		fmt.Fprintf(&b, "  one damaged item would have been missed with a chance of %.3g %%, a damaged run of %d records with %.3g %%\n",
			100*r.MissItem, r.RunRecords, 100*r.MissRun)
	}
	const shown = 5
	for i, m := range r.Mismatches {
		if i == shown {
			break
		}
		fmt.Fprintf(&b, "  %s\n", m)
	}
	if more := len(r.Mismatches) + r.Unlisted - shown; more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	bad := 0
	for _, i := range r.Items {
		if i.Bad != "" {
			bad++
		}
	}
	if bad > 0 {
		fmt.Fprintf(&b, "  %d items have no good copy on this tape\n", bad)
	}
	return b.String()
}

// size spells a number of bytes.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1000, 0
	for ; f >= 999.5; u++ {
		f /= 1000
	}
	return fmt.Sprintf("%.3g %cB", f, units[u])
}

// MarshalJSON carries a path as path, or as path_b64 when it is not UTF-8.
func (m Mismatch) MarshalJSON() ([]byte, error) {
	type plain Mismatch
	return json.Marshal(struct {
		plain
		jsonPath
	}{plain(m), spell(m.Path)})
}

// MarshalJSON carries a path as path, or as path_b64 when it is not UTF-8.
func (i Item) MarshalJSON() ([]byte, error) {
	type plain Item
	return json.Marshal(struct {
		plain
		jsonPath
	}{plain(i), spell(i.Path)})
}

type jsonPath struct {
	Path string `json:"path,omitempty"`
	B64  []byte `json:"path_b64,omitempty"`
}

func spell(path string) jsonPath {
	if utf8.ValidString(path) {
		return jsonPath{Path: path}
	}
	return jsonPath{B64: []byte(path)}
}

// found puts a mismatch on the report, once.
func (c *check) found(m Mismatch) {
	m.Barcode = c.e.Barcode
	switch {
	case c.seen[m]:
		return
	case len(c.r.Mismatches) == mostMismatches:
		c.r.Unlisted++
	default:
		c.seen[m] = true
		c.r.Mismatches = append(c.r.Mismatches, m)
	}
	c.o.Events.Emit(event.Mismatch{Barcode: m.Barcode, What: m.String()})
}
