package paperdump

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// Archive is what one tape file holds, as far as it can be read.
type Archive struct {
	PID     string   // of the process that wrote it; empty if neither the inner tar's name nor a member told
	Number  int      // in its name
	Members []Member // in order
	// Gaps are parts in which headers of members may have stood that cannot be read.
	Gaps []Range
	// Refused are members whose names cannot be taken in, and why, at most mostRefused; Unlisted counts the rest.
	Refused  []string
	Unlisted int
	Inner    Range // of the inner tar; its To is 0 if its header cannot be read
	End      int64 // behind the inner tar's last member, where the two blocks stand that end a tar; 0 if they do not
	Length   int64 // of the tape file
}

// Member is one member of the inner tar. Its entry's place has but the header's length.
type Member struct {
	catalog.Entry
	At  int64  // where its header begins
	Cut bool   // the tape file, or the inner tar, ends inside its data
	Why string // nothing but its name can be taken in; empty if it can
}

// Range are bytes of a tape file, from one to before another.
type Range struct{ From, To int64 }

// Range is where a member lies, its header included, and what pads it.
func (m *Member) Range() Range {
	return Range{m.At, m.At + int64(m.Header) + padded(m.Size)}
}

// padded rounds up to tar's blocks.
func padded(n int64) int64 { return (n + block - 1) / block * block }

const mostRefused = 20

// ReadArchive reads a tape file to its end, and hashes what its members hold on the way. Where it is damaged it looks for the
// next header. The error is r's.
func ReadArchive(r io.Reader) (*Archive, error) {
	in := &input{r: r}
	a := &reading{Archive: &Archive{}, in: in}
	defer a.end()
	for {
		at := in.at
		if _, err := io.ReadFull(in, in.block[:]); err != nil {
			return a.Archive, in.failed()
		}
		if in.block == zero {
			a.zeros(at)
			continue
		}
		h, err := readHeader(in.block[:], in)
		if err != nil {
			a.unreadable(at)
			continue // how the input ended is told again
		}
		if err := a.header(at, h); err != nil {
			return a.Archive, err
		}
	}
}

var zero [block]byte

// input counts what was read, and keeps how it ended.
type input struct {
	r     io.Reader
	at    int64
	err   error
	block [block]byte
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.at += int64(n)
	if err != nil {
		in.err = err
	}
	return n, err
}

// failed is how it ended, unless that is its end.
func (in *input) failed() error {
	if errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}

// reading is one call of ReadArchive.
type reading struct {
	*Archive
	in     *input
	folder string // that all members lie in
	blank  Range  // zero blocks up to here, which end a tar or were lost
	bad    Range  // blocks up to here in which no header could be found
}

// inside tells whether an offset lies in the inner tar, as far as is known.
func (a *reading) inside(at int64) bool { return a.Inner.To == 0 || at < a.Inner.To }

func (a *reading) zeros(at int64) {
	if a.blank.To != at {
		a.blank.From = at
	}
	a.blank.To = at + block
}

// unreadable notes that what begins with a block is no header.
func (a *reading) unreadable(at int64) {
	if a.bad.To != at {
		a.gap(a.bad)
		a.bad.From = at
	}
	a.bad.To = a.in.at
}

func (a *reading) gap(r Range) {
	if r.To > r.From && a.inside(r.From) {
		a.Gaps = append(a.Gaps, r)
	}
}

// end notes where the tape file ends.
func (a *reading) end() {
	a.Length = a.in.at
	a.gap(a.bad)
	a.ends()
}

// ends takes the blank blocks that were passed last as those that end the inner tar, if they are.
func (a *reading) ends() {
	if to := a.blank.From + 2*block; a.End == 0 && to <= a.blank.To && (a.Inner.To == 0 || to <= a.Inner.To) {
		a.End = a.blank.From
	}
}

// header takes a header, and passes over what belongs to it.
func (a *reading) header(at int64, h header) error {
	if a.blank.To == at && at > 0 {
		if a.inside(at) { // a tar does not go on behind what ends it
			a.gap(a.blank)
		} else {
			a.ends()
		}
	}
	m := inner.FindStringSubmatch(path.Base(h.Name))
	folder := top.FindStringSubmatch(h.Name)
	switch {
	case a.Inner.To == 0 && m != nil && folder == nil:
		a.Inner = Range{a.in.at, a.in.at + h.Size}
		return a.name(m)
	case folder != nil && a.inside(at):
		if a.folder == "" {
			a.folder = folder[0]
			if err := a.name(folder); err != nil {
				return err
			}
		}
		return a.member(at, h)
	case a.inside(at) && a.Inner.To != 0:
		a.refuse(h, errNames)
	}
	return a.skip(padded(h.data()))
}

// name takes the archive's name from that of its inner tar, or else its members' folder.
func (a *reading) name(m []string) error {
	if a.PID == "" {
		a.PID = m[1]
		var err error
		if a.Number, err = strconv.Atoi(m[2]); err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	return nil
}

func (a *reading) member(at int64, h header) error {
	e, err := h.member(a.folder)
	m := Member{Entry: e, At: at}
	switch {
	case err != nil && e.Host == "":
		if h.Name != a.folder { // it holds the hosts' folders, and is no host's
			a.refuse(h, err)
		}
		return a.skip(padded(h.data()))
	case err != nil:
		m.Why = err.Error()
		m.Entry = catalog.Entry{Host: e.Host, Path: e.Path, Type: catalog.File, Size: h.data(), Place: catalog.Place{Header: h.length}}
		e = m.Entry
	}
	end := m.Range().To
	if a.Inner.To != 0 && end > a.Inner.To {
		m.Cut = m.At+int64(m.Header)+m.Size > a.Inner.To
		end = a.Inner.To
	}
	sum := digest.NewMD5()
	n, _ := io.CopyN(sum, a.in, min(e.Size, max(end-a.in.at, 0))) // how the input ended is told below
	if n < e.Size {
		m.Cut = true
	}
	if e.Type == catalog.File && !m.Cut && m.Why == "" {
		m.MD5 = catalog.MD5(sum.Sum(nil))
	}
	a.Members = append(a.Members, m)
	return a.skip(max(end-a.in.at, 0))
}

// refuse notes a member that is not taken in.
func (a *reading) refuse(h header, why error) {
	if len(a.Refused) == mostRefused {
		a.Unlisted++
		return
	}
	a.Refused = append(a.Refused, fmt.Sprintf("%s: %v", strconv.QuoteToASCII(clip(h.Name)), why))
}

// skip passes over bytes.
func (a *reading) skip(n int64) error {
	io.CopyN(io.Discard, a.in, n) //nolint:errcheck // the input keeps it
	return a.in.failed()
}

// Whole tells whether the archive ends as a tar does.
func (a *Archive) Whole() bool { return a.End != 0 && a.Inner.To != 0 && a.Length >= a.Inner.To }
