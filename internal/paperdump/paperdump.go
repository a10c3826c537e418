// Package paperdump reads the tapes of paper-dump, twintape's predecessor, as a pure codec over bytes and readers: the text
// catalog in the first record, and the tape files behind it, each a tar that holds a tar. docs/tape-format.md has the format.
//
// It knows no drive and no ledger; positions are bytes from the beginning of a tape file. Its functions keep no state and may
// be called concurrently. Nothing read from a tape is trusted: a member whose name is no plain path of a host is refused,
// whatever is damaged is passed over and told, and memory is bounded by the members of one tape file.
package paperdump

import (
	"errors"

	"github.com/google/uuid"

	"twintape/internal/digest"

	"twintape/internal/catalog"
)

// Kind is what the ledger calls a pair of tapes that paper-dump wrote.
const Kind = "paper-dump"

// ErrFormat marks input that paper-dump did not write.
var ErrFormat = errors.New("not in paper-dump's tape format")

// space is the name space of the UUIDs that tapes of paper-dump get, since nothing on them is one.
var space = uuid.MustParse("6b0d5c1e-3c1f-5f0a-9a55-70617065722d")

// Pair is the UUID of the pair whose tapes begin with the catalog: both have the same.
func (c *Catalog) Pair() string { return uuid.NewMD5(space, c.Text).String() }

// Session is the UUID of all that the pair's tapes hold.
func (c *Catalog) Session() string { return name("session of " + c.Pair()) }

// Job is the UUID of the run that wrote the pair.
func (c *Catalog) Job() string { return name("job of " + c.Pair()) }

// Tape is the UUID of the tape with a barcode.
func (c *Catalog) Tape(barcode string) string { return name("tape " + barcode + " of " + c.Pair()) }

func name(of string) string { return uuid.NewMD5(space, []byte(of)).String() }

// MD5 is the checksum of the catalog's text.
func (c *Catalog) MD5() catalog.MD5 {
	sum := digest.NewMD5()
	sum.Write(c.Text)
	return catalog.MD5(sum.Sum(nil))
}
