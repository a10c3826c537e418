package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"twintape/internal/catalog"
)

// ItemLook is what planning saw of an item when it listed its members.
type ItemLook struct {
	ID          int64
	Bytes       int64 // sum of the members' sizes
	Members     int64
	Fingerprint catalog.MD5
}

// PlanArchive records an archive of a session with the planned place of every member, before anything of it is written,
// and claims its items for the job; looks updates what is known of them. records is how many tape records the archive
// fills. Items that the job took (TakeQueued) are its already. The error wraps ErrClaimed if another job has one of the items, or an
// archive of this one; ErrOnTape if one has copies; then nothing is recorded.
func (l *Ledger) PlanArchive(ctx context.Context, job, session int64, a *catalog.Archive, records int64, looks []ItemLook) (id int64, err error) {
	err = l.updateIn(ctx, beside, fmt.Sprintf("plan archive %d for job %d", a.Number, job), func(tx *sql.Tx) error {
		if err := l.checkPlan(ctx, tx, job, session, a); err != nil {
			return err
		}
		var bytes int64
		for _, it := range a.Items {
			bytes += dataBytes(it)
		}
		id, err = insert(ctx, tx, `INSERT INTO archives (session, number, tape_file, record, records, items, bytes, sums_bytes, good, flushed, named)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 1)`, session, a.Number, a.TapeFile, a.Record, records, len(a.Items), bytes, a.SumsSize())
		if err != nil {
			return err
		}
		if err := l.lockItems(ctx, tx, a.Items); err != nil {
			return err
		}
		if err := planItems(ctx, tx, job, id, a.Items); err != nil {
			return err
		}
		for _, look := range looks {
			if _, err := exec(ctx, tx, "UPDATE items SET bytes = ?, members = ?, fingerprint = ? WHERE id = ?",
				look.Bytes, look.Members, look.Fingerprint[:], look.ID); err != nil {
				return err
			}
		}
		return insertMembers(ctx, tx, id, a)
	})
	return id, err
}

// checkPlan refuses archives that do not belong to the session, or could not be read from the ledger again as they are.
func (l *Ledger) checkPlan(ctx context.Context, tx *sql.Tx, job, session int64, a *catalog.Archive) error {
	if err := l.checkLive(ctx, tx, job); err != nil {
		return err
	}
	s, err := one(ctx, tx, "s.id = ?", session)
	if err != nil {
		return err
	}
	if s.Job != job {
		return fmt.Errorf("session %s belongs to job %d", s.UUID, s.Job)
	}
	if !s.Closed.IsZero() {
		return fmt.Errorf("session %s is closed", s.UUID)
	}
	head, err := sessionHead(ctx, tx, session)
	if err != nil {
		return err
	}
	if a.Pair != head.Pair || a.Session != head.Session || a.Job != head.Job || a.RecordSize != head.RecordSize {
		return fmt.Errorf("it is an archive of pair %s, session %s, job %s with records of %d bytes, not of pair %s, session %s, job %s with %d",
			a.Pair, a.Session, a.Job, a.RecordSize, head.Pair, head.Session, head.Job, head.RecordSize)
	}
	for _, it := range a.Items {
		for i := range it.Entries {
			e := &it.Entries[i]
			if _, ok := memberName(it, e); !ok {
				return fmt.Errorf("member %s is not within its item %s", spell(e.Host, e.Path), spell(it.Host, it.Path))
			}
			if e.Place != (catalog.Place{}) && e.Archive != a.Number {
				return fmt.Errorf("member %s is placed in archive %d", spell(e.Host, e.Path), e.Archive)
			}
		}
	}
	return nil
}

// lockItems keeps other jobs from the items of an archive until the transaction ends.
func (l *Ledger) lockItems(ctx context.Context, tx *sql.Tx, items []catalog.Item) error {
	ids := make([]int64, len(items))
	for i, it := range items {
		ids[i] = it.ID
	}
	slices.Sort(ids) // in one order, as everybody locks them
	for some := range slices.Chunk(ids, idsAtOnce) {
		if err := l.lock(ctx, tx, "SELECT id FROM items WHERE id IN ("+marks(len(some))+") ORDER BY id", anys(some)...); err != nil {
			return err
		}
	}
	return nil
}

// planItems claims the items of an archive for a job and records their order.
func planItems(ctx context.Context, tx *sql.Tx, job, archive int64, items []catalog.Item) error {
	var first int64
	var seq int
	for some := range slices.Chunk(items, idsAtOnce) {
		ids := make([]any, len(some))
		for i, it := range some {
			ids[i] = it.ID
		}
		in := " IN (" + marks(len(ids)) + ")"
		found, err := plannedItems(ctx, tx, in, ids)
		if err != nil {
			return err
		}
		claims := newInsertion(tx, "claims (kind, target, job)")
		for _, it := range some {
			holder, err := found.plan(it, job)
			if err == nil && holder == 0 {
				err = claims.add(ctx, "item", it.ID, job)
			}
			if err != nil {
				return err
			}
		}
		if err := claims.rest(ctx); err != nil {
			return err
		}
		// Copies that are all damaged are given up for good now: what is archived anew may be another version of it.
		for _, statement := range []string{
			"UPDATE archive_items SET item = NULL WHERE item" + in + " AND archive IN (SELECT c.archive FROM copies c WHERE c.item = archive_items.item)",
			"DELETE FROM copies WHERE item" + in,
		} {
			if _, err := exec(ctx, tx, statement, ids...); err != nil {
				return err
			}
		}
		rows := newInsertion(tx, "archive_items (archive, seq, item, listed, host, path, first_member, members, record, bytes, bad)")
		for _, it := range some {
			record := int64(0)
			for i := range it.Entries {
				if it.Entries[i].Type.OnTape() {
					record = it.Entries[i].Record
					break
				}
			}
			if err := rows.add(ctx, archive, seq, it.ID, it.ID, it.Host, bytesOf(it.Path), first, len(it.Entries), record, dataBytes(it),
				text(it.Bad)); err != nil {
				return err
			}
			first += int64(len(it.Entries))
			seq++
		}
		if err := rows.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plannable is what the ledger knows of an item that is planned.
type plannable struct {
	id              int64
	host, path      string
	holder          int64 // the job that claims it; 0 for none
	onTape, planned bool
}

type plannables map[int64]plannable

func plannedItems(ctx context.Context, tx *sql.Tx, in string, ids []any) (plannables, error) {
	all, err := collect(ctx, tx, func(rows *sql.Rows) (k plannable, err error) {
		var path []byte
		err = rows.Scan(&k.id, &k.host, &path, &k.holder, &k.onTape, &k.planned)
		k.path = string(path)
		return k, err
	}, "SELECT i.id, i.host, i.path, COALESCE(cl.job, 0), "+undamaged+", "+inPlan+`
		FROM items i LEFT JOIN claims cl ON cl.kind = 'item' AND cl.target = i.id WHERE i.id`+in, ids...)
	found := make(plannables, len(all))
	for _, k := range all {
		found[k.id] = k
	}
	return found, err
}

// plan lets a job plan an item once, and returns who claimed it before.
func (p plannables) plan(it catalog.Item, job int64) (holder int64, err error) {
	spelled := spell(it.Host, it.Path)
	k, ok := p[it.ID]
	switch {
	case !ok, k.host != it.Host, k.path != it.Path:
		return 0, fmt.Errorf("item %d, %s, is %w", it.ID, spelled, ErrNotFound)
	case k.holder != 0 && (k.holder != job || k.planned):
		return 0, fmt.Errorf("item %s is %w (job %d)", spelled, ErrClaimed, k.holder)
	case k.onTape:
		return 0, fmt.Errorf("item %s is %w", spelled, ErrOnTape)
	}
	holder, k.holder, k.planned = k.holder, job, true
	p[it.ID] = k
	return holder, nil
}

// memberColumns are the columns of a member in the order of memberValues and scanMember, after its archive and seq.
const memberColumns = `name, type, size, mode, mtime_s, mtime_ns, ctime_s, ctime_ns, uid, gid, user_name, group_name, link,
  xattrs, md5, bad, record, byte_offset, header`

// insertMembers records the members of an archive, and their names.
func insertMembers(ctx context.Context, tx *sql.Tx, archive int64, a *catalog.Archive) error {
	names := newNames()
	rows := newInsertion(tx, "members (archive, seq, parent, "+memberColumns+")")
	seq := int64(0)
	for place, it := range a.Items {
		names.add(int64(place), it.Path)
		parents := newParents(seq)
		for i := range it.Entries {
			values, err := memberValues(it, &it.Entries[i])
			if err != nil {
				return err
			}
			parent, err := parents.of(it, &it.Entries[i], seq)
			if err != nil {
				return err
			}
			if err := rows.add(ctx, append([]any{archive, seq, parent}, values...)...); err != nil {
				return err
			}
			name, _ := memberName(it, &it.Entries[i])
			names.add(int64(place), name)
			seq++
		}
	}
	if err := rows.rest(ctx); err != nil {
		return err
	}
	return names.insert(ctx, tx, archive)
}

// parents finds the directories that hold an item's members, as they come in tape order: a directory before what it holds.
type parents struct {
	item int64            // seq of the item's first member
	dirs map[string]int64 // seq by name
}

func newParents(item int64) parents { return parents{item: item, dirs: make(map[string]int64)} }

// of returns the seq of the directory that holds a member, nil for the item itself.
func (p parents) of(it catalog.Item, e *catalog.Entry, seq int64) (any, error) {
	name, _ := memberName(it, e)
	if e.Type == catalog.Dir {
		p.dirs[name] = seq
	}
	if seq == p.item {
		return nil, nil
	}
	dir, ok := p.dirs[name[:max(0, strings.LastIndexByte(name, '/'))]]
	if !ok {
		return nil, fmt.Errorf("member %s comes before its directory, or without it", spell(e.Host, e.Path))
	}
	return dir, nil
}

func memberValues(it catalog.Item, e *catalog.Entry) ([]any, error) {
	name, _ := memberName(it, e)
	var xattrs, md5, record, offset, header any
	if e.Xattrs != nil {
		// As pairs of byte strings: neither names nor values need be UTF-8, which a JSON object's would have to be.
		var pairs [][2][]byte
		for k, v := range e.Xattrs {
			pairs = append(pairs, [2][]byte{[]byte(k), []byte(v)})
		}
		packed, err := json.Marshal(pairs)
		if err != nil {
			return nil, err
		}
		xattrs = packed
	}
	if e.Type == catalog.File || e.MD5 != (catalog.MD5{}) {
		md5 = e.MD5[:] // zero until it is known: a row that grew would have MariaDB split its page
	}
	if e.Place != (catalog.Place{}) {
		record, offset, header = e.Record, e.Offset, e.Header
	}
	return []any{
		bytesOf(name), string(e.Type), e.Size, e.Mode, e.MTime.Unix(), e.MTime.Nanosecond(), e.CTime.Unix(), e.CTime.Nanosecond(),
		e.UID, e.GID, bytesOf(e.User), bytesOf(e.Group), bytesOf(e.Link), xattrs, md5, text(e.Bad), record, offset, header,
	}, nil
}

// memberName is what follows the item's path in the member's; false if the member is not within the item.
func memberName(it catalog.Item, e *catalog.Entry) (string, bool) {
	if e.Host != it.Host {
		return "", false
	}
	if e.Path == it.Path {
		return "", true
	}
	return strings.CutPrefix(e.Path, below(it.Path))
}

// memberPath is the path of the member with a name.
func memberPath(item, name string) string {
	if name == "" {
		return item
	}
	return below(item) + name
}

func dataBytes(it catalog.Item) (n int64) {
	for i := range it.Entries {
		if it.Entries[i].Type == catalog.File {
			n += it.Entries[i].Size
		}
	}
	return n
}

// DropUnflushed forgets the archives of a session that are planned and not flushed. Their items wait again.
func (l *Ledger) DropUnflushed(ctx context.Context, session int64) error {
	return l.updateIn(ctx, beside, fmt.Sprintf("drop what session %d did not flush", session), func(tx *sql.Tx) error {
		s, err := one(ctx, tx, "s.id = ?", session)
		if err != nil {
			return err
		}
		if err := l.checkLive(ctx, tx, s.Job); err != nil {
			return err
		}
		return dropUnflushed(ctx, tx, session)
	})
}

func dropUnflushed(ctx context.Context, tx *sql.Tx, session int64) error {
	planned, err := collect(ctx, tx, scanID, "SELECT id FROM archives WHERE session = ? AND flushed = 0", session)
	if err != nil {
		return err
	}
	items, err := collect(ctx, tx, scanID, `SELECT ai.item FROM archives a JOIN archive_items ai ON ai.archive = a.id
		WHERE a.session = ? AND a.flushed = 0 AND ai.item IS NOT NULL`, session)
	if err != nil {
		return err
	}
	if err := execEach(ctx, tx, "DELETE FROM claims WHERE kind = 'item' AND target", items); err != nil {
		return err
	}
	for _, id := range planned {
		if err := deleteNames(ctx, tx, id); err != nil {
			return err
		}
	}
	for _, statement := range []string{"DELETE FROM members WHERE archive", "DELETE FROM archive_items WHERE archive", "DELETE FROM archives WHERE id"} {
		if err := execEach(ctx, tx, statement, planned); err != nil {
			return err
		}
	}
	return nil
}
