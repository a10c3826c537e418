package vtl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Control is the faults that a control file scripts. It is read anew when it changes; lines that stay keep their count of
// commands. A file that is wrong is told of and leaves what was scripted before. Each line is one fault, in words divided by
// blanks; what follows a # is a comment:
//
//	fail UNIT COMMAND NTH KEY/ASC/ASCQ   the command is not carried out and has this sense, three hexadecimal numbers
//	hang UNIT COMMAND NTH                the command does not come to an end while the line stands there
//	reset UNIT COMMAND NTH               the unit is reset before, loses its buffer, and says so once
//	lose UNIT COMMAND NTH                as reset, but nobody is told
//	clean UNIT                           a command that succeeds says once that cleaning is wanted, and TapeAlert flag 20 is raised
//	alert UNIT FLAG                      a TapeAlert flag from 1 to 64 is raised
//	offline                              the changer says that the library is offline (2/04/12)
//	rot BARCODE BLOCK BYTE               the lowest bit of a byte (from 0) of a record is flipped when it is read
//	unreadable BARCODE BLOCK             the record cannot be read (3/11/00)
//	early BARCODE BLOCK                  early warning lies at the block
//	end BARCODE BLOCK                    the physical end lies before the block
//
// UNIT is changer, drive0, drive1, …; COMMAND is an operation code of two hexadecimal digits, a name (see commands), or any; NTH
// counts such commands from 1, from when the line is first read, and * is each of them.
type Control struct {
	path    string
	problem func(error)

	mu    sync.Mutex
	stamp stamp
	rules []*rule
}

// stamp tells whether a file changed.
type stamp struct {
	size  int64
	mtime time.Time
}

// rule is a line of a control file.
type rule struct {
	text string
	verb string

	unit   string
	opcode int // anyCommand is each
	nth    int // 0 is each
	sense  *sense
	flag   int

	barcode string
	block   int64
	at      int64

	count int  // commands that it was asked about
	done  bool // it happened, and happens once
}

const anyCommand = -1

// commands are the names of operation codes in a control file.
var commands = map[string]byte{
	"ready": opTestUnitReady, "rewind": opRewind, "read": opRead, "write": opWrite, "filemarks": opWriteFilemarks, "space": opSpace,
	"erase": opErase, "load": opLoadUnload, "locate": opLocate10, "position": opReadPosition, "inventory": opReadElements,
	"move": opMoveMedium, "inquiry": opInquiry, "log": opLogSense, "attribute": opReadAttribute,
}

// NewControl takes a control file, which need not exist yet; an empty path is none ever. problem is told what is wrong with the
// file.
func NewControl(path string, problem func(error)) *Control {
	return &Control{path: path, problem: problem}
}

// parseControl reads a control file.
func parseControl(r io.Reader) ([]*rule, error) {
	var rules []*rule
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		parsed, err := parseRule(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		rules = append(rules, parsed)
	}
	return rules, lines.Err()
}

// verbs are the first words of lines, with what follows.
var verbs = map[string]string{
	"fail": "UNIT COMMAND NTH SENSE", "hang": "UNIT COMMAND NTH", "reset": "UNIT COMMAND NTH", "lose": "UNIT COMMAND NTH",
	"clean": "UNIT", "alert": "UNIT FLAG", "offline": "", "rot": "BARCODE BLOCK BYTE", "unreadable": "BARCODE BLOCK",
	"early": "BARCODE BLOCK", "end": "BARCODE BLOCK",
}

func parseRule(words []string) (*rule, error) {
	r := &rule{text: strings.Join(words, " "), verb: words[0]}
	form, ok := verbs[r.verb]
	if !ok {
		return nil, fmt.Errorf("%q is no fault", r.verb)
	}
	fields := strings.Fields(form)
	if len(words)-1 != len(fields) {
		return nil, fmt.Errorf("%q: after %s there must be %d words: %s", r.text, r.verb, len(fields), form)
	}
	for i, field := range fields {
		if err := r.set(field, words[i+1]); err != nil {
			return nil, fmt.Errorf("%q: %w", r.text, err)
		}
	}
	return r, nil
}

func (r *rule) set(field, word string) (err error) {
	switch field {
	case "UNIT":
		r.unit = word
		number, isDrive := strings.CutPrefix(word, "drive")
		if _, err := strconv.ParseUint(number, 10, 16); word != "changer" && (!isDrive || err != nil) {
			return fmt.Errorf("%q is no unit: changer, drive0, drive1, …", word)
		}
	case "COMMAND":
		opcode, named := commands[word]
		r.opcode = int(opcode)
		if word == "any" {
			r.opcode = anyCommand
		} else if !named {
			v, err := strconv.ParseUint(word, 16, 8)
			if err != nil || len(word) != 2 {
				return fmt.Errorf("%q is no command: a name, two hexadecimal digits, or any", word)
			}
			r.opcode = int(v)
		}
	case "NTH":
		if word == "*" {
			return nil
		}
		if r.nth, err = strconv.Atoi(word); err != nil || r.nth < 1 {
			return fmt.Errorf("%q is no count: a number from 1, or *", word)
		}
	case "SENSE":
		parts := strings.Split(word, "/")
		var v [3]byte
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 16, 8)
			if err != nil || len(parts) != len(v) || i == 0 && n > 0xF {
				return fmt.Errorf("%q is no sense: KEY/ASC/ASCQ, as in 3/0C/00", word)
			}
			v[i] = byte(n)
		}
		if len(parts) != len(v) {
			return fmt.Errorf("%q is no sense: KEY/ASC/ASCQ, as in 3/0C/00", word)
		}
		r.sense = &sense{key: v[0], asc: v[1], ascq: v[2]}
	case "FLAG":
		if r.flag, err = strconv.Atoi(word); err != nil || r.flag < 1 || r.flag > tapeAlertFlags {
			return fmt.Errorf("%q is no TapeAlert flag: they count from 1 to %d", word, tapeAlertFlags)
		}
	case "BARCODE":
		r.barcode = word
	case "BLOCK":
		if r.block, err = strconv.ParseInt(word, 10, 64); err != nil || r.block < 0 {
			return fmt.Errorf("%q is no block: they count from 0", word)
		}
	case "BYTE":
		if r.at, err = strconv.ParseInt(word, 10, 64); err != nil || r.at < 0 {
			return fmt.Errorf("%q is no byte: they count from 0", word)
		}
	}
	return nil
}

// refresh reads the file if it changed since.
func (c *Control) refresh() {
	if c.path == "" {
		return
	}
	fi, err := os.Stat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		c.stamp, c.rules = stamp{}, nil
		return
	}
	var rules []*rule
	if err == nil {
		now := stamp{fi.Size(), fi.ModTime()}
		if now == c.stamp {
			return
		}
		c.stamp = now
		var f *os.File
		if f, err = os.Open(c.path); err == nil {
			rules, err = parseControl(f)
			f.Close()
		}
	}
	if err != nil {
		c.problem(fmt.Errorf("control file %s: %w", c.path, err))
		return
	}
	old := c.rules
	for i, r := range rules {
		for j, known := range old {
			if known != nil && known.text == r.text {
				rules[i], old[j] = known, nil
				break
			}
		}
	}
	c.rules = rules
}

// action is what happens to a command.
type action struct {
	sense       *sense // instead of carrying it out
	reset, lose bool   // before
	clean       bool   // with its success
	alerts      []int
}

// act counts a command, and waits while a line has it hang or ctx ends.
func (c *Control) act(ctx context.Context, unit string, opcode byte) action {
	var a action
	var hanging *rule
	c.mu.Lock()
	c.refresh()
	for _, r := range c.rules {
		if r.unit != unit || r.done {
			continue
		}
		switch r.verb {
		case "clean":
			r.done, a.clean = true, true
			a.alerts = append(a.alerts, cleanNow)
			continue
		case "alert":
			r.done = true
			a.alerts = append(a.alerts, r.flag)
			continue
		}
		if r.opcode != anyCommand && r.opcode != int(opcode) {
			continue
		}
		if r.count++; r.nth != 0 && r.nth != r.count {
			continue
		}
		switch r.verb {
		case "fail":
			a.sense = r.sense
		case "reset":
			a.reset = true
		case "lose":
			a.lose = true
		case "hang":
			hanging = r
		}
	}
	c.mu.Unlock()
	if hanging != nil {
		c.hang(ctx, hanging)
	}
	return a
}

// hang waits until a line is gone.
func (c *Control) hang(ctx context.Context, r *rule) {
	const glance = 50 * time.Millisecond
	look := time.NewTicker(glance)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		c.mu.Lock()
		c.refresh()
		stands := false
		for _, now := range c.rules {
			stands = stands || now == r
		}
		c.mu.Unlock()
		if !stands {
			return
		}
	}
}

// offline tells whether the library is.
func (c *Control) offline() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rules {
		if r.verb == "offline" {
			return true
		}
	}
	return false
}

// damage is what is wrong with a block.
type damage struct {
	rotten     []int64 // bytes
	unreadable bool
	early, end bool // the block lies behind early warning, or the end
}

func (c *Control) damage(barcode string, block int64) (d damage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rules {
		if r.barcode != barcode {
			continue
		}
		switch {
		case r.verb == "early":
			d.early = d.early || block >= r.block
		case r.verb == "end":
			d.end = d.end || block >= r.block
		case r.block != block:
		case r.verb == "rot":
			d.rotten = append(d.rotten, r.at)
		case r.verb == "unreadable":
			d.unreadable = true
		}
	}
	return d
}
