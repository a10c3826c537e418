package ledger

import (
	"context"
	"database/sql"
	"io"

	"twintape/internal/catalog"
)

// fillBrowse gives the columns of 00003_browse.sql their values, in ledgers that have rows already.
func fillBrowse(ctx context.Context, tx *sql.Tx) error {
	if _, err := exec(ctx, tx, "UPDATE archive_items SET listed = COALESCE(item, 0)"); err != nil {
		return err
	}
	twins, err := collect(ctx, tx, func(rows *sql.Rows) (twin struct {
		tape    int64
		barcode string
	}, err error) {
		err = rows.Scan(&twin.tape, &twin.barcode)
		return twin, err
	}, "SELECT t.id, n.barcode FROM tapes t JOIN tapes n ON n.pair = t.pair AND n.id <> t.id")
	if err != nil {
		return err
	}
	for _, t := range twins {
		if _, err := exec(ctx, tx, "UPDATE tapes SET twin = ? WHERE id = ?", t.barcode, t.tape); err != nil {
			return err
		}
	}
	all, err := collect(ctx, tx, scanID, "SELECT id FROM archives")
	if err != nil {
		return err
	}
	for _, id := range all {
		a, err := loadArchive(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE archives SET sums_bytes = ? WHERE id = ?", a.SumsSize(), id); err != nil {
			return err
		}
		if err := fillParents(ctx, tx, id, a); err != nil {
			return err
		}
	}
	sessions, err := collect(ctx, tx, scanSession, sessionQuery+"s.closed <> 0")
	if err != nil {
		return err
	}
	for _, s := range sessions {
		_, bytes, _, err := writeCatalog(ctx, tx, io.Discard, s, s.Closed)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE sessions SET catalog_bytes = ? WHERE id = ?", bytes, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func fillParents(ctx context.Context, tx *sql.Tx, archive int64, a *catalog.Archive) error {
	update, err := tx.PrepareContext(ctx, "UPDATE members SET parent = ? WHERE archive = ? AND seq = ?")
	if err != nil {
		return err
	}
	seq := int64(0)
	for _, it := range a.Items {
		parents := newParents(seq)
		for i := range it.Entries {
			parent, err := parents.of(it, &it.Entries[i], seq)
			if err != nil {
				return err
			}
			if parent != nil {
				if _, err := update.ExecContext(ctx, parent, archive, seq); err != nil {
					return err
				}
			}
			seq++
		}
	}
	return nil
}
