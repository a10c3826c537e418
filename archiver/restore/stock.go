package restore

import (
	"context"
	"sync"
	"time"

	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// Where a file's data can be had.
const (
	Online  = "online" // on disk: no tape is needed
	OnTape  = "tape"   // on a tape in the library
	OnShelf = "shelf"  // on tapes that are elsewhere
)

// lookAgain is for how long the last inventory counts.
const lookAgain = time.Minute

// stock is what was seen of the library. Its fields are guarded by the Recaller's mutex.
type stock struct {
	inside map[string]bool // by barcode; nil if it was never seen
	asked  time.Time       // when somebody last tried to see
	owned  bool            // the library is ours, so that it is as it was seen

	looking sync.Mutex // held by who looks
}

// Residency tells where a member that has copies on some tapes can be had: Online, OnTape or OnShelf, as the library looked
// when it was last seen, which is a minute ago at most unless somebody else has it; empty if it was not seen yet.
func (r *Recaller) Residency(ctx context.Context, m ledger.Browsed, barcodes []string) string {
	if r.Stage.Has(keyOf(m)) {
		return Online
	}
	inside := r.look(ctx)
	if inside == nil {
		return ""
	}
	for _, barcode := range barcodes {
		if inside[barcode] {
			return OnTape
		}
	}
	return OnShelf
}

// look returns which tapes are in the library.
func (r *Recaller) look(ctx context.Context) map[string]bool {
	if r.looking.TryLock() { // else somebody else does
		defer r.looking.Unlock()
		r.mu.Lock()
		fresh := r.owned || time.Since(r.asked) < lookAgain
		if !fresh {
			r.asked = time.Now()
		}
		r.mu.Unlock()
		if !fresh {
			if lib, err := r.Library(ctx); err == nil { // else what was seen last has to do
				if _, err := r.inventory(ctx, lib, false); err != nil {
					r.Problem("looking into the library: " + err.Error())
				}
				if err := lib.Close(); err != nil {
					r.Problem("looking into the library: " + err.Error())
				}
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inside
}

// inventory sees which tapes are in the library, and remembers it.
func (r *Recaller) inventory(ctx context.Context, lib tape.Library, own bool) (map[string]bool, error) {
	elements, err := tape.LimitedChanger(lib.Changer()).Inventory(ctx)
	if err != nil {
		return nil, err
	}
	inside := make(map[string]bool)
	for _, e := range elements {
		if e.Barcode != "" && e.Kind != tape.ImportExport {
			inside[e.Barcode] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside, r.asked, r.owned = inside, time.Now(), own
	return inside, nil
}
