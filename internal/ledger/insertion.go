package ledger

import (
	"context"
	"database/sql"
	"strings"
)

// insertion is rows for one table, that go there many with one statement: one each would cost a round trip each.
type insertion struct {
	tx      *sql.Tx
	into    string // the table, and its columns in brackets
	columns int
	values  []any
	bytes   int       // of the values that are bytes
	many    *sql.Stmt // of rowsAtOnce rows; the transaction closes it
}

const (
	rowsAtOnce  = 100     // more gain nothing
	bytesAtOnce = 1 << 20 // a server takes a statement of 16 MiB
)

func newInsertion(tx *sql.Tx, into string) *insertion {
	return &insertion{tx: tx, into: into, columns: 1 + strings.Count(into, ",")}
}

// add adds a row, and inserts what came together if that is enough.
func (in *insertion) add(ctx context.Context, values ...any) error {
	in.values = append(in.values, values...)
	for _, v := range values {
		if b, ok := v.([]byte); ok {
			in.bytes += len(b)
		}
	}
	if len(in.values) < rowsAtOnce*in.columns && in.bytes < bytesAtOnce {
		return nil
	}
	return in.rest(ctx)
}

// rest inserts what is left.
func (in *insertion) rest(ctx context.Context) (err error) {
	rows := len(in.values) / in.columns
	switch rows {
	case 0:
		return nil
	case rowsAtOnce:
		if in.many == nil {
			if in.many, err = in.tx.PrepareContext(ctx, in.statement(rows)); err != nil {
				return err
			}
		}
		_, err = in.many.ExecContext(ctx, in.values...)
	default:
		_, err = in.tx.ExecContext(ctx, in.statement(rows), in.values...)
	}
	in.values, in.bytes = in.values[:0], 0
	return err
}

func (in *insertion) statement(rows int) string {
	row := ", (" + marks(in.columns) + ")"
	return "INSERT INTO " + in.into + " VALUES " + strings.Repeat(row, rows)[2:]
}
