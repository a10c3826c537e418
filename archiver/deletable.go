package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"twintape/internal/ledger"
	"twintape/sources"
)

// ErrCleared says that an item that may be cleared is not at its source any more.
var ErrCleared = errors.New("is cleared already")

// Deletable yields the items that may be cleared from their hosts, those that fit a pattern if it is not empty, after
// comparing each with what was archived once more. An error that comes with an item concerns that one alone: it wraps
// ErrCleared, or says what is different now, or why its host does not tell. twintape itself deletes nothing.
func (a *Archiver) Deletable(ctx context.Context, pattern string) iter.Seq2[ledger.Item, error] {
	return func(yield func(ledger.Item, error) bool) {
		for it, err := range a.Ledger.Items(ctx, ledger.Filter{States: []ledger.ItemState{ledger.Deletable}, Pattern: pattern}) {
			if err != nil {
				yield(ledger.Item{}, err)
				return
			}
			latest, err := a.Ledger.ItemByPath(ctx, it.Host, it.Path)
			if err != nil {
				yield(ledger.Item{}, err)
				return
			}
			if latest.ID != it.ID {
				continue // what lies there now is a later version
			}
			if !yield(it, a.stillSame(ctx, it)) {
				return
			}
		}
	}
}

// stillSame compares an item with its source.
func (a *Archiver) stillSame(ctx context.Context, it ledger.Item) error {
	_, src, err := a.Namespace.Source(it.Host)
	if err != nil {
		return err
	}
	if _, err := src.Stat(ctx, it.Path); errors.Is(err, fs.ErrNotExist) {
		if _, err := src.Stat(ctx, "/"); err != nil { // not the item is gone, but the host's disk
			return fmt.Errorf("%w: %w", sources.ErrUnavailable, err)
		}
		return fmt.Errorf("%s:%s %w", it.Host, it.Path, ErrCleared)
	}
	archived, err := a.Ledger.ItemMembers(ctx, it.ID)
	if err != nil {
		return err
	}
	return Unchanged(ctx, src, &archived)
}
