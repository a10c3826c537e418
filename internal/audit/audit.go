// Package audit checks a site from outside: its cartridges, record by record, its ledger, row by row, and its sources, byte
// by byte. It shares no code with the rest of twintape, so that no fault of that can hide itself here. Tests call it after
// whatever they did to a site.
package audit

import (
	"bytes"
	"crypto/md5"
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	_ "github.com/go-sql-driver/mysql" // or that of a server
	_ "modernc.org/sqlite"             // the ledger is read by its own SQL
)

// Site is where everything lies. Nothing may be writing to it.
type Site struct {
	Tapes   string            // the folder of the virtual library
	Ledger  string            // the SQLite file
	MySQL   string            // or how go-sql-driver/mysql is told of the database
	Sources map[string]string // folders by host: each is the host's /
	// Ended says that no job is under way or unfinished: then nothing may be claimed or planned.
	Ended bool
}

// Check returns what is wrong, a sentence each: nothing lost, nothing doubled, nothing untrue is recorded.
func (s Site) Check() []string {
	a := &audit{Site: s, tapes: make(map[int64]*held)}
	if err := a.run(); err != nil {
		a.wrong("the audit cannot be made: %v", err)
	}
	return a.faults
}

type audit struct {
	Site
	db     *sql.DB
	faults []string
	tapes  map[int64]*held // by the ledger's id
}

// held is one tape.
type held struct {
	*cartridge
	id, pair int64
	uuid     string
	doubted  bool              // no copy on it counts
	at       int64             // the tape file that was read last, by its first block
	files    map[string][]byte // its tar members; nil if none was
}

func (a *audit) wrong(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

func (a *audit) run() (err error) {
	if a.db, err = a.open(); err != nil {
		return err
	}
	defer a.db.Close()
	defer func() {
		for _, h := range a.tapes {
			h.file.Close() // was only read
		}
	}()
	for _, step := range []func() error{a.integrity, a.load, a.twins, a.sessions, a.copies, a.items, a.ended} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s Site) open() (*sql.DB, error) {
	if s.MySQL != "" {
		return sql.Open("mysql", s.MySQL)
	}
	dsn := url.URL{Scheme: "file", Path: s.Ledger, RawQuery: "mode=rw"} // a write-ahead log left behind is played back
	return sql.Open("sqlite", dsn.String())
}

// each calls f for every row of a query.
func (a *audit) each(f func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := a.db.Query(query, args...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (a *audit) integrity() error {
	if a.MySQL != "" {
		return nil // the server sees to it
	}
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		err := a.each(func(scan func(...any) error) error {
			if pragma == "foreign_key_check" {
				a.wrong("the ledger has a row that refers to none")
				return nil
			}
			var text string
			if err := scan(&text); err != nil {
				return err
			}
			if text != "ok" {
				a.wrong("the ledger's file: %s", text)
			}
			return nil
		}, "PRAGMA "+pragma)
		if err != nil {
			return err
		}
	}
	return nil
}

// load reads every cartridge that belongs to a pair, and checks its label where anything of it counts.
func (a *audit) load() error {
	return a.each(func(scan func(...any) error) error {
		h := &held{}
		var barcode string
		var flushed int64
		if err := scan(&h.id, &barcode, &h.pair, &h.uuid, &flushed, &h.doubted); err != nil {
			return err
		}
		var err error
		if h.cartridge, err = readCartridge(barcode, filepath.Join(a.Tapes, barcode+".tap")); err != nil {
			return err
		}
		a.tapes[h.id] = h
		if flushed == 0 || h.doubted {
			return nil
		}
		if int64(len(h.blocks)) < flushed {
			a.wrong("%s holds %d blocks, a flush at %d is recorded", barcode, len(h.blocks), flushed)
			return nil
		}
		first, err := h.record(0)
		if err != nil {
			return err
		}
		label := string(first)
		for _, line := range []string{"twintape volume label\n", "\ntape: " + h.uuid + "\n", "\nbarcode: " + barcode + "\n"} {
			if !strings.Contains(label, line) {
				a.wrong("the label of %s lacks %q", barcode, line)
			}
		}
		return nil
	}, `SELECT t.id, t.barcode, t.pair, t.uuid, (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.tape = t.id),
			t.state = 'suspect' AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.tape = t.id AND c.bad = '')
		FROM tapes t WHERE t.pair IS NOT NULL`)
}

// twins makes sure that both tapes of a pair are alike behind the label, as far as both hold it flushed.
func (a *audit) twins() error {
	return a.each(func(scan func(...any) error) error {
		var one, two, end, other int64
		if err := scan(&one, &two, &end, &other); err != nil {
			return err
		}
		end = min(end, other)
		x, y := a.tapes[one], a.tapes[two]
		if x.doubted || y.doubted {
			return nil
		}
		for i := int64(1); i < end && i < int64(len(x.blocks)) && i < int64(len(y.blocks)); i++ {
			its, others, err := bothRecords(x, y, i)
			if err != nil {
				return err
			}
			if x.blocks[i].mark != y.blocks[i].mark || !bytes.Equal(its, others) {
				a.wrong("block %d differs on %s and %s", i, x.barcode, y.barcode)
				return nil
			}
		}
		return nil
	}, `SELECT x.id, y.id, (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.tape = x.id),
		(SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.tape = y.id)
		FROM tapes x JOIN tapes y ON y.pair = x.pair AND x.side = 1 AND y.side = 2`)
}

func bothRecords(x, y *held, i int64) (its, others []byte, err error) {
	if its, err = x.record(i); err == nil {
		others, err = y.record(i)
	}
	return its, others, err
}

// tarAt is the tape file at a block, as tar's members.
func (a *audit) tarAt(h *held, at int64) map[string][]byte {
	if h.files != nil && h.at == at {
		return h.files
	}
	data, err := h.tapeFile(at)
	var files map[string][]byte
	if err == nil {
		files, err = members(data)
	}
	if err != nil {
		a.wrong("%s, tape file at block %d: %v", h.barcode, at, err)
		files = map[string][]byte{}
	}
	h.at, h.files = at, files
	return files
}

// heldUpTo is how far a session was flushed on a tape.
const heldUpTo = "(SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.session = s.id AND f.tape = t.id)"

// sessions checks the catalog of every closed session on every tape that holds it.
func (a *audit) sessions() error {
	return a.each(func(scan func(...any) error) error {
		var id, tape, record, size int64
		var uuid string
		var sum []byte
		if err := scan(&id, &tape, &uuid, &record, &sum, &size); err != nil {
			return err
		}
		h := a.tapes[tape]
		if h.doubted {
			return nil
		}
		files := a.tarAt(h, record)
		jsonl, crcs := files[".twintape/"+uuid+"/catalog.jsonl"], files[".twintape/"+uuid+"/records.crc32c"]
		if got := md5.Sum(jsonl); !bytes.Equal(got[:], sum) {
			a.wrong("the catalog of session %s on %s has md5 %x, the ledger says %x", uuid, h.barcode, got, sum)
			return nil
		}
		return a.catalog(h, uuid, jsonl, crcs)
	}, `SELECT s.id, t.id, s.uuid, s.catalog_record, s.catalog_md5, p.record_size FROM sessions s JOIN pairs p ON p.id = s.pair
		JOIN tapes t ON t.pair = s.pair WHERE s.closed <> 0 AND `+heldUpTo+" > s.catalog_record + s.catalog_records")
}

// catalog compares a catalog with the tape: every record's checksum, every file's MD5.
func (a *audit) catalog(h *held, uuid string, jsonl, crcs []byte) error {
	table := crc32.MakeTable(crc32.Castagnoli)
	var host string
	var archive catalogLine
	var files map[string][]byte
	var bad bool
	for _, text := range strings.Split(strings.TrimSuffix(string(jsonl), "\n"), "\n") {
		var l catalogLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return err
		}
		switch l.Line {
		case "archive":
			archive, files = l, a.tarAt(h, l.Record)
			for i := l.Record; i < l.Record+l.Records; i++ {
				if len(crcs) < 4 || i >= int64(len(h.blocks)) {
					a.wrong("%s, session %s: checksums or records of archive %d are missing", h.barcode, uuid, l.Number)
					return nil
				}
				want := uint32(crcs[0]) | uint32(crcs[1])<<8 | uint32(crcs[2])<<16 | uint32(crcs[3])<<24
				data, err := h.record(i)
				if err != nil {
					return err
				}
				if got := crc32.Checksum(data, table); got != want {
					a.wrong("%s: record %d has CRC %08x, the catalog says %08x", h.barcode, i, got, want)
				}
				crcs = crcs[4:]
			}
		case "item":
			host, bad = l.Host, l.Bad != ""
		case "member":
			if l.Type != "file" || bad || l.Bad != "" {
				continue
			}
			if l.PathB64 != nil {
				l.Path = string(l.PathB64)
			}
			content, ok := files[host+l.Path]
			if got := fmt.Sprintf("%x", md5.Sum(content)); !ok || got != l.MD5 {
				a.wrong("%s: %s:%s in archive %d is not what its catalog says", h.barcode, host, l.Path, archive.Number)
			}
		}
	}
	if len(crcs) > 0 {
		a.wrong("%s, session %s: %d bytes of checksums are too many", h.barcode, uuid, len(crcs))
	}
	return nil
}

// catalogLine has the fields of a catalog's lines that are looked at.
type catalogLine struct {
	Line    string
	Number  int
	Record  int64
	Records int64
	Host    string
	Path    string
	PathB64 []byte `json:"path_b64"`
	Type    string
	MD5     string
	Bad     string
}

// copies makes sure that everything the ledger calls a copy is on its tape, before a flush, and is what the source has.
func (a *audit) copies() error {
	return a.each(func(scan func(...any) error) error {
		var tape, archive, record, records, flushed, first, count, flushTape, flushSession, session int64
		var host string
		var item []byte
		var doubted bool
		if err := scan(&tape, &archive, &record, &records, &flushed, &host, &item, &first, &count, &doubted, &flushTape, &flushSession, &session); err != nil {
			return err
		}
		h := a.tapes[tape]
		if h == nil {
			a.wrong("a copy of %s:%s is on a tape without a pair", host, item)
			return nil
		}
		if flushed < record+records+1 || flushTape != tape || flushSession != session {
			a.wrong("%s: the copy of %s:%s in the archive at block %d lies behind its flush at %d", h.barcode, host, item, record, flushed)
			return nil
		}
		if doubted { // the ledger does not count on it
			return nil
		}
		files := a.tarAt(h, record)
		return a.each(func(scan func(...any) error) error {
			var name, sum []byte
			var kind string
			if err := scan(&name, &kind, &sum); err != nil {
				return err
			}
			if kind != "file" {
				return nil
			}
			p := string(item)
			if len(name) > 0 {
				p = path.Join(p, string(name))
			}
			a.member(h, host, p, files[host+p], sum)
			return nil
		}, "SELECT name, type, md5 FROM members WHERE archive = ? AND seq >= ? AND seq < ?", archive, first, first+count)
	}, `SELECT c.tape, a.id, a.record, a.records, f.tape_position, ai.host, ai.path, ai.first_member, ai.members, c.bad <> '', f.tape, f.session, a.session
		FROM copies c JOIN archives a ON a.id = c.archive JOIN flushes f ON f.id = c.flush
		JOIN archive_items ai ON ai.archive = c.archive AND ai.item = c.item ORDER BY c.tape, a.record`)
}

// member compares one file on tape with the ledger and, where that is as the ledger knows it, with its source.
func (a *audit) member(h *held, host, p string, content, sum []byte) {
	got := md5.Sum(content)
	if !bytes.Equal(got[:], sum) {
		a.wrong("%s: %s:%s is not on tape as the ledger says", h.barcode, host, p)
		return
	}
	root, ok := a.Sources[host]
	if !ok {
		return
	}
	source, err := os.ReadFile(filepath.Join(root, p))
	if err == nil && !bytes.Equal(source, content) {
		a.wrong("%s: %s:%s is not what the source has", h.barcode, host, p)
	}
}

// items makes sure that what the ledger would call archived was verified on two tapes after it was flushed, that nothing
// is on a tape twice, and that nothing that was queued is lost.
func (a *audit) items() error {
	for query, what := range map[string]string{
		`SELECT i.host, i.path FROM items i JOIN copies c ON c.item = i.id JOIN verifications v ON v.id = c.verification
			JOIN flushes f ON f.id = c.flush WHERE v.tape <> c.tape OR v.good = 0 OR v.began < f.flushed`: "counts as verified by what did not verify it",
		`SELECT i.host, i.path FROM items i JOIN copies c ON c.item = i.id WHERE c.verification IS NOT NULL AND (c.damaged = 1 OR c.bad <> '')`: "counts, although its copy is bad",
		`SELECT i.host, i.path FROM items i JOIN archive_items ai ON ai.item = i.id JOIN archives a ON a.id = ai.archive
			JOIN copies c ON c.item = i.id AND c.archive = a.id AND c.damaged = 0 AND c.tape = (SELECT MIN(x.tape) FROM copies x WHERE x.item = i.id AND x.archive = a.id)
			WHERE ai.bad = '' AND a.flushed <> 0 GROUP BY i.id HAVING COUNT(*) > 1`: "was written twice",
		`SELECT i.host, i.path FROM items i JOIN archive_items ai ON ai.item = i.id JOIN archives a ON a.id = ai.archive
			WHERE ai.bad = '' AND a.flushed <> 0 AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.item = i.id AND c.archive = a.id)`: "is on tape, and has no copy",
	} {
		err := a.each(func(scan func(...any) error) error {
			var host string
			var p []byte
			if err := scan(&host, &p); err != nil {
				return err
			}
			a.wrong("%s:%s %s", host, p, what)
			return nil
		}, query)
		if err != nil {
			return err
		}
	}
	return nil
}

// ended makes sure that jobs which ended left nothing behind.
func (a *audit) ended() error {
	if !a.Ended {
		return nil
	}
	for query, what := range map[string]string{
		"SELECT COUNT(*) FROM claims":                     "claims are left",
		"SELECT COUNT(*) FROM jobs WHERE ended = 0":       "jobs have not ended",
		"SELECT COUNT(*) FROM archives WHERE flushed = 0": "archives are planned and not flushed",
		"SELECT COUNT(*) FROM jobs WHERE step = 'stopped' AND EXISTS (SELECT 1 FROM sessions s WHERE s.job = jobs.id)": "jobs are stopped",
	} {
		var n int
		if err := a.db.QueryRow(query).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			a.wrong("%d %s", n, what)
		}
	}
	return nil
}

// States counts the items by how many good copies on different tapes each has: 0, 1 or 2.
func (s Site) States() (counts [3]int, err error) {
	db, err := s.open()
	if err != nil {
		return counts, err
	}
	defer db.Close()
	rows, err := db.Query(`SELECT (SELECT COUNT(DISTINCT c.tape) FROM copies c WHERE c.item = i.id AND c.verification IS NOT NULL AND c.bad = '') FROM items i`)
	if err != nil {
		return counts, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return counts, err
		}
		counts[min(n, 2)]++
	}
	return counts, rows.Err()
}
