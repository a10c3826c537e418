package ledger

import (
	"errors"
	"slices"
	"time"

	"twintape/internal/catalog"
)

// Conditions that callers decide on.
var (
	// ErrNotFound says that no row answers.
	ErrNotFound = errors.New("not in the ledger")
	// ErrClaimed says that another job holds the item or the tape.
	ErrClaimed = errors.New("claimed by another job")
	// ErrDuplicate says that the tape is known.
	ErrDuplicate = errors.New("already in the ledger")
	// ErrNotBlank says that a tape is not free for a new pair.
	ErrNotBlank = errors.New("not a blank tape")
	// ErrOnTape says that an item has copies, so it is no longer in the queue.
	ErrOnTape = errors.New("already on tape")
	// ErrEnded says that a job has ended and cannot be gone on with.
	ErrEnded = errors.New("has ended")
	// ErrFenced says that another process took this one's job over: nothing that belongs to it may be written any more.
	ErrFenced = errors.New("taken over")
	// ErrNotOpen says that a pair takes no further session.
	ErrNotOpen = errors.New("not open for a further session")
	// ErrNoLedger says that there is no ledger at the configured place.
	ErrNoLedger = errors.New("no ledger")
)

// TapeState is what a cartridge may be used for.
type TapeState string

// The states of a tape.
const (
	TapeBlank   TapeState = "blank"   // never written by us: free for a new pair
	TapeWritten TapeState = "written" // belongs to a pair
	TapeSuspect TapeState = "suspect" // failed; never chosen again by itself
	TapeRetired TapeState = "retired" // taken out of use by its owner
	TapeCopying TapeState = "copying" // a new twin is being made on it, and nothing on it counts
)

// Tape is one cartridge.
type Tape struct {
	ID         int64
	Barcode    string
	UUID       string // of the volume label; empty while blank
	Pair       string // UUID of the pair; empty while blank
	Side       int    // 1 or 2
	Twin       string // barcode of the tape that the volume label calls its twin; empty while blank
	State      TapeState
	Why        string // it is in this state; empty where that is plain
	RecordSize int    // bytes; 0 while blank
	WrittenBy  string // the program that wrote its pair; empty for twintape, or while blank
	Capacity   int64  // native bytes; 0 where unknown
	Used       int64  // bytes of flushed archives and closing catalogs on this very tape
	Full       bool   // its pair took what it could
	Diverged   bool   // its twin holds something else
	Serial     string // medium serial number, where readable
	Added      time.Time
	Written    time.Time // when its first session began; zero while blank
	Recycled   string    // UUID of the label that a recycled tape had, and may be overwritten; empty if it was never recycled
	Job        int64     // the job that holds it; 0 if none
	Overwrite  string    // what it holds, though it is blank here, that may be overwritten; empty for none
}

// ItemState follows from an item's copies; it is stored nowhere.
type ItemState string

// The states of an item, in the order of its life.
const (
	Queued    ItemState = "queued"    // waits for a job
	Failed    ItemState = "failed"    // waits for a job after one that could not archive it; Item.Error says why
	Claimed   ItemState = "claimed"   // a job holds it, and no flushed copy exists
	Written   ItemState = "written"   // flushed on at least one tape, not yet proven good on two
	Archived  ItemState = "archived"  // flushed on two tapes and both verified to the stated policy
	Deletable ItemState = "deletable" // archived, and read back to the depth that deletable_after asks for
)

// Item is one version of what is archived as one unit.
type Item struct {
	ID          int64
	Host        string
	Path        string
	Version     int         // 1, then one more for each change that was queued again
	Bytes       int64       // sum of the members' sizes, when last looked at
	Members     int64       // how many
	Fingerprint catalog.MD5 // over the members' paths, types, sizes and mtimes
	Queued      time.Time
	Error       string // why the last attempt failed; empty if none did
	State       ItemState
	Job         int64 // the job that holds it; 0 if none
	Copies      []Copy
}

// NewItem is what Enqueue takes.
type NewItem struct {
	Host        string
	Path        string
	Bytes       int64
	Members     int64
	Fingerprint catalog.MD5
	Expected    map[string]catalog.MD5 // by the member's path below the item; "" is the item itself, if it is a file
	Row         string                 // of paper-dump's File, as that spells it, if the item is one
}

// Outcome is what Enqueue did with an item.
type Outcome string

// The outcomes of Enqueue.
const (
	Added    Outcome = "added"
	Waiting  Outcome = "waiting"  // queued, claimed or written already: left alone
	Kept     Outcome = "archived" // archived, and unchanged since
	Changed  Outcome = "changed"  // archived, but sizes or mtimes differ now: left alone without again
	Renewed  Outcome = "renewed"  // the same with again: added as a new version
	Enclosed Outcome = "enclosed" // inside a waiting item, or around one
)

// Enqueued is the outcome for one item.
type Enqueued struct {
	NewItem
	Outcome Outcome
	ID      int64  // the item's, where there is one
	Other   string // for Enclosed: the path of the other item
}

// Copy is one item on one tape, flushed.
type Copy struct {
	Barcode  string
	Archive  int   // archive number within the pair
	TapeFile int   // tape file number
	Record   int64 // logical block number of the item's first record
	Flushed  time.Time
	// Verified is when the tape was last read back to the stated policy with a good result; zero if it was not.
	Verified time.Time
	Drive    string  // which drive verified it
	Sample   float64 // the policy: the fraction of items sampled; 1 is full
	Read     int64   // bytes of this item that were read back and matched, of Item.Bytes
	Full     bool    // every member's data was read back and matched
	Bad      string  // why this copy does not count; empty if it does
}

// Owner is the process that runs a job.
type Owner struct {
	Machine string // host name
	Boot    string // boot id
	PID     int
	Start   int64 // process start time in clock ticks since boot (proc(5), stat field 22)
}

// Step is how far a job has come; each is in the ledger before what it names begins.
type Step string

// The steps of a job.
const (
	Planning  Step = "planning"  // choosing tapes, items and their places
	Labelling Step = "labelling" // loading both tapes, writing their labels
	Writing   Step = "writing"   // archives
	Closing   Step = "closing"   // the session's catalog
	Verifying Step = "verifying" // reading both tapes back
	Done      Step = "done"      // all tapes that it went on with verified good
	Stopped   Step = "stopped"   // ended before that, to be gone on with; Job.Reason says why
	Aborted   Step = "aborted"   // ended for good before that
	Mismatch  Step = "mismatch"  // both tapes judged, and one did not give back what was written
)

// follows are the steps that may come after each; what is not in it ends a job for good.
var follows = map[Step][]Step{
	Planning:  {Labelling, Writing, Closing, Verifying, Stopped, Aborted},
	Labelling: {Writing, Stopped, Aborted},
	Writing:   {Closing, Stopped, Aborted},
	Closing:   {Verifying, Stopped, Aborted},
	Verifying: {Done, Mismatch, Stopped, Aborted},
	Stopped:   {Planning},
}

// MayFollow tells whether a job that is in step prev may enter s. Beside that, a job whose process died is begun again with
// Planning from whatever step it had come to.
func (s Step) MayFollow(prev Step) bool { return slices.Contains(follows[prev], s) }

// Ends tells whether a job ends with the step.
func (s Step) Ends() bool { return s == Done || s == Stopped || s == Aborted || s == Mismatch }

// Job is one run that writes one session on a pair.
type Job struct {
	ID      int64
	UUID    string
	Owner   Owner
	Step    Step
	Reached Step   // the last step before it ended
	Reason  string // why it stopped
	Sample  float64
	Began   time.Time
	Ended   time.Time // zero while it runs
	Session string    // UUID; empty before tapes were chosen
	Pair    string    // UUID
	Tapes   [2]string // barcodes, by side
	Lost    int       // the side, 1 or 2, that it goes on without; 0 for none
	Epoch   int64     // counts who went on with it
	Lease   time.Time // until when its process counts as alive on other machines, by the database's clock
	// LeaseOver tells that another machine may take it over. On SQLite, which has no other machines, it always may: what another
	// boot began has ended.
	LeaseOver bool
	Items     int64 // planned
	Archived  int64 // of these, with flushed copies
	Bytes     int64 // of their members
}

// Session is what one job appends to a pair.
type Session struct {
	ID      int64
	UUID    string
	Pair    string
	Job     int64
	Number  int          // on the pair, from 1
	Record  int64        // logical block number of its first record
	Closed  time.Time    // when its catalog was made, flushed on at least one tape
	Catalog CatalogPlace // zero until Closed
	On      [2]bool      // by side: the catalog is on that tape
}

// CatalogPlace is where a session's closing catalog lies, alike on both tapes.
type CatalogPlace struct {
	TapeFile int
	Record   int64
	Records  int64
	Bytes    int64       // of its catalog.jsonl
	MD5      catalog.MD5 // of its catalog.jsonl
}

// PlannedArchive is one archive of a session as planned.
type PlannedArchive struct {
	ID       int64
	Number   int
	TapeFile int
	Record   int64
	Records  int64
	Items    int
	Bytes    int64   // of the members' data
	Sums     int64   // bytes of its MD5SUMS
	Flushed  bool    // on at least one tape
	On       [2]bool // by side: flushed on that tape
}

// FlushedArchive is what a good flush proved of one archive.
type FlushedArchive struct {
	ID     int64
	Result *catalog.Archive // with every entry's MD5 or Bad, every item's Bad
	CRCs   []byte           // CRC32C of its records, little-endian, 4 bytes each
}

// Flush is a good synchronous flush of both drives at the same border, or of one alone.
type Flush struct {
	Session   int64
	Positions [2]int64 // logical block numbers that the drives reported, by side; 0 for a side that is lost
	Archives  []FlushedArchive
}

// Verification is one reading back of one tape.
type Verification struct {
	Barcode    string
	Job        int64 // 0 if not part of one
	Began      time.Time
	Ended      time.Time
	Drive      string
	Seed       uint64
	Sample     float64 // the policy; 1 is full
	Good       bool
	Reason     string // why it is not good
	BytesTotal int64
	BytesRead  int64
	Retried    int64 // records that were read at the second attempt only
	// Copies are all that the verification is about, those of which it read nothing too: a good one counts for no other.
	Copies []CheckedCopy
}

// CheckedCopy is what a verification found of one item's copy.
type CheckedCopy struct {
	Item int64
	Read int64  // bytes of members' data that were read and matched
	Full bool   // all of it was
	Bad  string // why the copy is bad; empty if nothing was found against it
}

// Filter chooses items. Zero fields choose all.
type Filter struct {
	IDs     []int64
	States  []ItemState
	Host    string
	Pattern string // doublestar glob over the path; matches items, and items that hold a matching member
	Limit   int
}
