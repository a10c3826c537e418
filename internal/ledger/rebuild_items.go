package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"time"

	"twintape/internal/catalog"
)

// copies records the tape's copies of an archive's items.
func (b *rebuilding) copies(ctx context.Context, archive int64, a ScannedArchive, s *ScannedSession, flush int64) error {
	for seq := range a.Items {
		it := &a.Items[seq]
		if why := a.Damaged[seq]; why != "" {
			b.differ("item %s has no copy on this tape: %s", spell(it.Host, it.Path), why)
			continue
		}
		if reasonOf(*it) != "" {
			continue
		}
		item, err := b.item(ctx, archive, seq, it, s)
		if err != nil {
			return err
		}
		if item == 0 {
			continue
		}
		known, err := collect(ctx, b.tx, scanID, "SELECT archive FROM copies WHERE item = ? AND tape = ?", item, b.tape)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			continue
		}
		if _, err := exec(ctx, b.tx, `INSERT INTO copies (item, tape, archive, flush, verification, read_bytes, read_full, bad)
			VALUES (?, ?, ?, ?, NULL, 0, 0, '')`, item, b.tape, archive, flush); err != nil {
			return err
		}
		b.r.Copies++
	}
	return nil
}

// mostListed bounds the numbers of items that are taken from tapes, so that new items find numbers behind them.
const mostListed = 1 << 40

// item finds the item that an archive holds, or adds it: with the number that it had in the ledger that wrote the tape, so
// that of several versions the later one has the higher number. It returns 0 if a later archive has the item.
func (b *rebuilding) item(ctx context.Context, archive int64, seq int, it *catalog.Item, s *ScannedSession) (int64, error) {
	var known int64
	err := b.tx.QueryRowContext(ctx, "SELECT COALESCE(item, 0) FROM archive_items WHERE archive = ? AND seq = ?", archive, seq).Scan(&known)
	if err != nil || known != 0 {
		return known, err
	}
	id, there := int64(0), false
	if 0 < it.ID && it.ID < mostListed {
		var host string
		var path []byte
		err := b.tx.QueryRowContext(ctx, "SELECT host, path FROM items WHERE id = ?", it.ID).Scan(&host, &path)
		switch there = err == nil && host == it.Host && string(path) == it.Path; {
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return 0, err
		case err != nil || there: // else another ledger's item has this number
			id = it.ID
		}
	}
	if there {
		if free, err := b.succeeds(ctx, id, archive, it, s); err != nil || !free {
			return 0, err
		}
	} else if id, err = b.addItem(ctx, id, it, s); err != nil {
		return 0, err
	}
	if _, err := exec(ctx, b.tx, "UPDATE archive_items SET item = ? WHERE archive = ? AND seq = ?", id, archive, seq); err != nil {
		return 0, err
	}
	return id, b.look(ctx, id, it)
}

// succeeds tells whether an archive is the latest that holds an item, and takes the item from those before it.
func (b *rebuilding) succeeds(ctx context.Context, item, archive int64, it *catalog.Item, s *ScannedSession) (bool, error) {
	claimed, err := collect(ctx, b.tx, scanID, "SELECT job FROM claims WHERE kind = 'item' AND target = ?", item)
	if err != nil {
		return false, err
	}
	if len(claimed) > 0 {
		b.differ("item %s is on this tape, and job %d is about to write it", spell(it.Host, it.Path), claimed[0])
		return false, nil
	}
	type other struct {
		later, verified bool
	}
	others, err := collect(ctx, b.tx, func(rows *sql.Rows) (o other, err error) {
		var pair, record, closed, mine int64
		err = rows.Scan(&pair, &record, &closed, &mine, &o.verified)
		if o.later = closed > b.when(s); pair == b.pair {
			o.later = record > mine
		}
		return o, err
	}, `SELECT s.pair, a.record, s.closed, (SELECT n.record FROM archives n WHERE n.id = ?), c.verification IS NOT NULL
		FROM copies c JOIN archives a ON a.id = c.archive JOIN sessions s ON s.id = a.session WHERE c.item = ? AND c.archive <> ?`, archive, item, archive)
	if err != nil {
		return false, err
	}
	for _, o := range others {
		switch {
		case o.later:
			return false, nil
		case o.verified:
			b.differ("item %s was archived once more onto this tape, but the ledger has verified copies from before", spell(it.Host, it.Path))
			return false, nil
		}
	}
	for _, statement := range []string{
		"UPDATE archive_items SET item = NULL WHERE item = ? AND bad = ''",
		"DELETE FROM copies WHERE item = ?",
		"UPDATE items SET error = '', unsettled = 1 WHERE id = ?",
	} {
		if _, err := exec(ctx, b.tx, statement, item); err != nil {
			return false, err
		}
	}
	return true, nil
}

// addItem adds an item, with a number if that is not 0, and puts its path's versions in order.
func (b *rebuilding) addItem(ctx context.Context, id int64, it *catalog.Item, s *ScannedSession) (int64, error) {
	type version struct {
		id int64
		n  int
	}
	hash := pathHash(it.Host, it.Path)
	order := "id"
	if b.s.WrittenBy != "" { // its numbers were not this ledger's
		order = "queued, id"
	}
	versions := func() ([]version, error) {
		return collect(ctx, b.tx, func(rows *sql.Rows) (v version, err error) {
			err = rows.Scan(&v.id, &v.n)
			return v, err
		}, "SELECT id, version FROM items WHERE path_hash = ? ORDER BY "+order, hash)
	}
	all, err := versions()
	if err != nil {
		return 0, err
	}
	last := 0
	for _, v := range all {
		last = max(last, v.n)
	}
	folder, err := newFolders(b.tx).of(ctx, it.Host, it.Path)
	if err != nil {
		return 0, err
	}
	args := []any{it.Host, bytesOf(it.Path), hash, folder, last + 1, []byte{}, b.when(s)}
	if id == 0 {
		id, err = insert(ctx, b.tx, `INSERT INTO items (host, path, path_hash, folder, version, bytes, members, fingerprint, queued, error)
			VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, '')`, args...)
	} else {
		_, err = exec(ctx, b.tx, `INSERT INTO items (id, host, path, path_hash, folder, version, bytes, members, fingerprint, queued, error)
			VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?, '')`, append([]any{id}, args...)...)
	}
	if err != nil {
		return 0, err
	}
	b.r.Items++
	if len(all) == 0 || b.s.WrittenBy == "" && id > all[len(all)-1].id {
		return id, nil
	}
	if all, err = versions(); err != nil {
		return 0, err
	}
	if _, err := exec(ctx, b.tx, "UPDATE items SET version = -version WHERE path_hash = ?", hash); err != nil {
		return 0, err
	}
	for i, v := range all {
		if _, err := exec(ctx, b.tx, "UPDATE items SET version = ? WHERE id = ?", i+1, v.id); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// look records what an item looks like on the tape.
func (b *rebuilding) look(ctx context.Context, id int64, it *catalog.Item) error {
	sum := b.s.Fingerprint(it)
	_, err := exec(ctx, b.tx, "UPDATE items SET bytes = ?, members = ?, fingerprint = ? WHERE id = ?", dataBytes(*it), len(it.Entries), sum[:], id)
	return err
}

// compare tells whether an archive is what the ledger has, and notes the first difference.
func (b *rebuilding) compare(ctx context.Context, p PlannedArchive, a ScannedArchive, s *ScannedSession) (bool, error) {
	known, err := loadArchive(ctx, b.tx, p.ID)
	if err != nil {
		return false, err
	}
	listed, err := collect(ctx, b.tx, scanID, "SELECT listed FROM archive_items WHERE archive = ? ORDER BY seq", p.ID)
	if err != nil {
		return false, err
	}
	for i, id := range listed {
		known.Items[i].ID = id
	}
	catalogued := !s.Head.Closed.IsZero()
	what := ""
	switch {
	case p.TapeFile != a.TapeFile || p.Record != a.Record || p.Records != a.Records:
		what = fmt.Sprintf("it is tape file %d, %d records from %d on, in the ledger tape file %d, %d records from %d on",
			a.TapeFile, a.Records, a.Record, p.TapeFile, p.Records, p.Record)
	case len(known.Items) != len(a.Items):
		what = fmt.Sprintf("it has %d items, in the ledger %d", len(a.Items), len(known.Items))
	}
	for i := range a.Items {
		if what == "" {
			what = differentItem(&known.Items[i], &a.Items[i], catalogued)
		}
	}
	if what != "" {
		b.differ("archive %d: %s", a.Number, what)
		return false, nil
	}
	return true, b.addCRCs(ctx, p.ID, a)
}

// differentItem says how an item in the ledger and on tape differ; empty if they do not. Without a catalog only what lies on
// tape is compared.
func differentItem(l, t *catalog.Item, catalogued bool) string {
	if l.Host != t.Host || l.Path != t.Path || l.ID != t.ID || catalogued && (reasonOf(*l) == "") != (reasonOf(*t) == "") {
		return fmt.Sprintf("it has item %d, %s (%s), where the ledger has %d, %s (%s)", t.ID, spell(t.Host, t.Path), t.Bad, l.ID, spell(l.Host, l.Path), l.Bad)
	}
	members := l.Entries
	if !catalogued {
		members = nil
		for _, e := range l.Entries {
			if e.Type.OnTape() {
				members = append(members, e)
			}
		}
	}
	if len(members) != len(t.Entries) {
		return fmt.Sprintf("item %s has %d members, in the ledger %d", spell(t.Host, t.Path), len(t.Entries), len(members))
	}
	for i := range members {
		x, y := alike(members[i], catalogued), alike(t.Entries[i], catalogued)
		if !catalogued && (x.MD5.IsZero() || y.MD5.IsZero()) {
			x.MD5, y.MD5 = catalog.MD5{}, catalog.MD5{}
		}
		if !reflect.DeepEqual(x, y) {
			return fmt.Sprintf("member %s is %+v, in the ledger %+v", spell(y.Host, y.Path), y, x)
		}
	}
	return ""
}

// alike is an entry without what no tape tells.
func alike(e catalog.Entry, catalogued bool) catalog.Entry {
	e.CTime, e.Bad = time.Time{}, ""
	if len(e.Xattrs) == 0 {
		e.Xattrs = nil
	}
	if !catalogued && e.MTime.IsZero() {
		e.MTime = time.Unix(0, 0)
	}
	if !e.Type.OnTape() {
		e.Place = catalog.Place{}
	}
	e.MTime = e.MTime.UTC()
	return e
}
