package archiver

import (
	"twintape/internal/ledger"
)

// firstRecord is the block behind the label and its filemark.
const firstRecord = 2

// place is where the next archive, or a session's catalog, belongs.
type place struct {
	number   int // of the next archive
	tapeFile int
	record   int64
	earlier  int // sessions of the pair before it
}

// beginning is the place of a pair's first archive.
var beginning = place{number: 1, tapeFile: 1, record: firstRecord}

// behind is the place behind some archives of a session, which are in tape order; from is where the session begins.
func (from place) behind(archives []ledger.PlannedArchive) place {
	if len(archives) == 0 {
		return from
	}
	last := archives[len(archives)-1]
	return place{number: last.Number + 1, tapeFile: last.TapeFile + 1, record: last.Record + last.Records + 1, earlier: from.earlier}
}
