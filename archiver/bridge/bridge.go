// Package bridge brings the ledger and paper-dump's databases into agreement while both archive from one list: rows of File are taken
// and queued, where they lie is written back, rows that are no longer wanted are given back, and blank tapes are taken by the labels of
// table ids.
//
// What it does it finds by comparing both sides; all that is remembered is which items are rows, in the ledger. So it may be killed anywhere
// and is simply done again. The order makes that safe: a row is taken before its item is queued, the ledger has a tape before its label is taken, and
// nothing is written back but what the ledger has verified. Several processes may do it at once.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/internal/paperdata"
	"twintape/sources"
)

// Bridge lies between one ledger and paper-dump's databases. It may be used concurrently.
type Bridge struct {
	Archiver *archiver.Archiver
	// Connect opens the databases; it is asked when they are needed first, and again if it failed.
	Connect func(context.Context) (*paperdata.DB, error)

	mu   sync.Mutex
	open *paperdata.DB
}

var _ archiver.Labels = (*Bridge)(nil)

// Close closes what was opened.
func (b *Bridge) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		return nil
	}
	return b.open.Close()
}

func (b *Bridge) db(ctx context.Context) (*paperdata.DB, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.open == nil {
		b.open, err = b.Connect(ctx)
	}
	return b.open, err
}

// Report is what was done, and what could not be done.
type Report struct {
	Queued    []ledger.Enqueued // of rows that were taken
	Problems  []error           // rows that could not be taken or written back, each named, and other things that somebody should look at
	Failed    []ledger.Item     // items of rows that are taken, which a run could not archive: they wait
	Written   int               // rows that say now where they lie, or whether they may be deleted
	Deletable int               // of these, rows that may be deleted now
	Released  int               // rows that were given back
	Lost      int               // items that were taken out of the queue, because another took their rows
	Removed   int               // rows that are left alone, because they were taken out of the queue
	Freed     []string          // labels that were given back
	Taken     []string          // labels that were taken, because their tapes are in use here
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Errorf(format, args...))
}

// Sync does everything; it takes at most limit new rows, all if that is 0. The report tells what was done even if there is an error.
func (b *Bridge) Sync(ctx context.Context, limit int) (*Report, error) {
	r := &Report{}
	db, err := b.db(ctx)
	if err != nil {
		return r, err
	}
	p := &pass{Bridge: b, db: db, r: r}
	for _, step := range []func(context.Context) error{
		p.recheck, p.claims, func(ctx context.Context) error { return p.take(ctx, limit) }, p.writeBack, p.settle, p.others,
	} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Recheck takes items out of the queue whose rows another has taken all the same.
func (b *Bridge) Recheck(ctx context.Context) (*Report, error) {
	return b.do(ctx, (*pass).recheck)
}

// WriteBack records in File what the ledger has verified, and in ids which labels are in use here.
func (b *Bridge) WriteBack(ctx context.Context) (*Report, error) {
	return b.do(ctx, (*pass).writeBack, (*pass).settle)
}

func (b *Bridge) do(ctx context.Context, steps ...func(*pass, context.Context) error) (*Report, error) {
	r := &Report{}
	db, err := b.db(ctx)
	if err != nil {
		return r, err
	}
	for _, step := range steps {
		if err := step(&pass{Bridge: b, db: db, r: r}, ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// atOnce is how many rows are looked at, and changed in one transaction.
const atOnce = 500

// data is the member of an item whose MD5 File has.
const data = "visdata"

// item reads a row: which item it is, and the MD5 that is expected of its data.
func (b *Bridge) item(r paperdata.Row) (ledger.NewItem, error) {
	failed := func(err error) (ledger.NewItem, error) {
		return ledger.NewItem{}, &rowError{Source: r.Source, Err: err}
	}
	host, p, err := sources.ParsePath(r.Source)
	if err != nil {
		return failed(err)
	}
	// What is on tape already needs its host no more; who looks at the item finds out that it is none.
	if name, _, err := b.Archiver.Namespace.Source(host); err == nil {
		host = name
	}
	if r.MD5 == "" {
		return failed(errors.New("its md5sum is empty, so nothing could be checked against it"))
	}
	md5, err := catalog.ParseMD5(r.MD5)
	if err != nil {
		return failed(fmt.Errorf("md5sum: %w", err))
	}
	return ledger.NewItem{Host: host, Path: p, Row: r.Source, Expected: map[string]catalog.MD5{data: md5}}, nil
}

// rowError says what is wrong with a row of File.
type rowError struct {
	Source string
	Err    error
}

func (e *rowError) Error() string { return fmt.Sprintf("File's row %s: %v", e.Source, e.Err) }

func (e *rowError) Unwrap() error { return e.Err }
