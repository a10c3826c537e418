package archiver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// The lives: real processes archive a small site, and each is killed at a random operation or moment; what the death leaves
// in the drives and in the ledger's file is then brought into a state that a process's end, or a power cut, could have left.
// The next process goes on. In the end everything is archived once, and the audit finds nothing.

const (
	livesDir  = "TWINTAPE_TEST_LIVES_DIR"  // the site that a child works on
	livesAt   = "TWINTAPE_TEST_LIVES_AT"   // the operation that kills it; 0 is none
	livesStep = "TWINTAPE_TEST_LIVES_STEP" // "true" counts only the steps of jobs as operations
	livesSeed = "TWINTAPE_SEED"            // replays one life alone
)

// lives is how many sites are lived through; TWINTAPE_TORTURE says how many times as many.
const lives = 100

// torture is how many times longer than usual the long tests are to be.
func torture(t testing.TB) int {
	text := os.Getenv("TWINTAPE_TORTURE")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// notingLibrary keeps a file for each cartridge that says up to which block it is surely on the medium, whatever happens:
// the ledger is not asked.
type notingLibrary struct {
	tape.Library
	dir string
	k   *killer
}

func (l notingLibrary) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return &notingDrive{killingDrive: killingDrive{d, l.k}, l: l, number: number}, err
}

type notingDrive struct {
	killingDrive
	l       notingLibrary
	number  int
	barcode string
	durable int64 // block
}

func (d *notingDrive) note(block int64) error {
	d.durable = block
	file := filepath.Join(d.l.dir, d.barcode)
	if err := os.WriteFile(file+".new", []byte(strconv.FormatInt(block, 10)), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func durable(dir, barcode string) int64 {
	text, _ := os.ReadFile(filepath.Join(dir, barcode)) // nothing was flushed yet
	n, _ := strconv.ParseInt(string(text), 10, 64)
	return n
}

func (d *notingDrive) Load(ctx context.Context) (tape.Medium, error) {
	m, err := d.killingDrive.Load(ctx)
	if err != nil {
		return m, err
	}
	elements, err := d.l.Changer().Inventory(ctx)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Number == d.number {
			d.barcode = e.Barcode
		}
	}
	d.durable = durable(d.l.dir, d.barcode)
	return m, err
}

// overwrite takes note that what lies from here on is lost.
func (d *notingDrive) overwrite(ctx context.Context) error {
	at, err := d.Position(ctx)
	if err == nil && at.Block < d.durable {
		err = d.note(at.Block)
	}
	return err
}

func (d *notingDrive) WriteRecord(ctx context.Context, p []byte) error {
	if err := d.overwrite(ctx); err != nil {
		return err
	}
	return d.killingDrive.WriteRecord(ctx, p)
}

func (d *notingDrive) WriteFilemark(ctx context.Context) error {
	if err := d.overwrite(ctx); err != nil {
		return err
	}
	return d.killingDrive.WriteFilemark(ctx)
}

func (d *notingDrive) Flush(ctx context.Context) error {
	return d.around(func() error {
		if err := d.Drive.Flush(ctx); err != nil {
			return err
		}
		at, err := d.Position(ctx)
		if err != nil {
			return err
		}
		return d.note(at.Block)
	})
}

// livesSite makes a site by a seed: how many items, how large, how full the tapes, whether the pair holds a session already.
func livesSite(t *testing.T, random *rand.Rand) *site {
	capacity := int64(4 << 20)
	if random.IntN(3) == 0 {
		capacity = 400 << 10 // more than one pair is needed
	}
	s := newSite(t, capacity)
	must(t, os.Mkdir(filepath.Join(s.dir, "durable"), 0o755))
	s.lives()
	if random.IntN(2) == 0 {
		s.file("old/visdata", pattern(77, 10_000))
		s.queue("pot1:/old")
		k := &killer{}
		s.a.Library = notingLibrary{s.lib, filepath.Join(s.dir, "durable"), k}
		_, err := s.run()
		must(t, err)
	}
	for i := range 4 + random.IntN(6) {
		s.file(fmt.Sprintf("obs/zen.%04d.uv/visdata", i), pattern(i, random.IntN(60_000)))
		s.file(fmt.Sprintf("obs/zen.%04d.uv/flags", i), nil)
	}
	s.queue("pot1:/obs/zen.*.uv")
	s.close()
	return s
}

// lives configures the site for parent and children alike.
func (s *site) lives() {
	s.a.RecordSize, s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 4096, 48<<10, 90<<10, 1<<20
}

// TestLivesChild is what the children of TestLives run: they go on with what there is until nothing waits.
func TestLivesChild(t *testing.T) {
	dir := os.Getenv(livesDir)
	if dir == "" {
		return // not a child
	}
	s := openSite(t, dir)
	s.lives()
	k := &killer{steps: os.Getenv(livesStep) == "true"}
	k.at, _ = strconv.ParseInt(os.Getenv(livesAt), 10, 64)
	s.a.Library, s.a.Events = notingLibrary{s.lib, filepath.Join(dir, "durable"), k}, k
	owner, err := archiver.ThisProcess()
	must(t, err)
	unfinished, err := s.a.Unfinished(t.Context())
	must(t, err)
	for _, j := range unfinished {
		_, err := s.a.Resume(t.Context(), j, owner, nil, false)
		must(t, err)
	}
	for {
		_, err := s.a.Run(t.Context(), owner, nil)
		if errors.Is(err, archiver.ErrNothingQueued) {
			break
		}
		must(t, err)
	}
}

// live runs a child that is killed at an operation, or after some time, or, with neither, comes to its end. It tells whether
// it did.
func (s *site) live(at int64, step bool, after time.Duration) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestLivesChild$")
	cmd.Env = append(os.Environ(), livesDir+"="+s.dir, livesAt+"="+strconv.FormatInt(at, 10), livesStep+"="+strconv.FormatBool(step), "GORACE=atexit_sleep_ms=0")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(s.t, cmd.Start())
	if after > 0 {
		timer := time.AfterFunc(after, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
		defer timer.Stop()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && ctx.Err() == nil {
		return false
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out.String())
	}
	return true
}

// death brings what a killed process left behind into a state that its end could have left.
func (s *site) death(random *rand.Rand) (how string) {
	s.t.Helper()
	powerCut := random.IntN(2) == 0
	images, err := filepath.Glob(filepath.Join(s.dir, "tapes", "*.tap"))
	must(s.t, err)
	for _, image := range images {
		barcode := strings.TrimSuffix(filepath.Base(image), ".tap")
		if powerCut {
			cutPower(s.t, image, durable(filepath.Join(s.dir, "durable"), barcode), random)
		} else {
			closeDriver(s.t, image)
		}
	}
	if powerCut {
		tearLog(s.t, filepath.Join(s.dir, "ledger.db-wal"), random)
		return "power cut"
	}
	return "process death"
}

// offsets are where the blocks of an image begin, and last where its whole blocks end.
func offsets(data []byte) (begins []int64, lastIsRecord bool) {
	at := int64(0)
	for {
		begins = append(begins, at)
		if int64(len(data)) < at+4 {
			return begins, lastIsRecord
		}
		n := binary.LittleEndian.Uint32(data[at:])
		switch {
		case n == 0:
			at, lastIsRecord = at+4, false
		case n > 0x00FFFFFF, int64(len(data)) < at+8+int64(n+n&1):
			return begins, lastIsRecord
		default:
			at, lastIsRecord = at+8+int64(n+n&1), true
		}
	}
}

// closeDriver does what Linux st does when a process that wrote ends: it writes a filemark.
func closeDriver(t testing.TB, image string) {
	data, err := os.ReadFile(image)
	must(t, err)
	begins, record := offsets(data)
	if !record {
		return
	}
	end := begins[len(begins)-1]
	must(t, os.WriteFile(image, append(data[:end:end], 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF), 0o644))
}

// cutPower leaves any prefix of what lies behind a block that is surely on the medium, or has something else there.
func cutPower(t testing.TB, image string, block int64, random *rand.Rand) {
	data, err := os.ReadFile(image)
	must(t, err)
	begins, _ := offsets(data)
	if block >= int64(len(begins)) {
		t.Fatalf("%s has %d blocks, %d were flushed", image, len(begins)-1, block)
	}
	safe := begins[block]
	if safe >= int64(len(data)) {
		return
	}
	cut := safe + random.Int64N(int64(len(data))-safe+1)
	if random.IntN(2) == 0 {
		data = data[:cut]
	} else { // the disk wrote the file's pages in another order
		for i := cut; i < int64(len(data)); i++ {
			data[i] = byte(random.Uint32() % 3 * 127)
		}
	}
	must(t, os.WriteFile(image, data, 0o644))
}

// tearLog leaves any prefix of what lies behind the last commit in SQLite's write-ahead log, or garbage there
// (https://sqlite.org/fileformat2.html#walformat).
func tearLog(t testing.TB, log string, random *rand.Rand) {
	data, err := os.ReadFile(log)
	if err != nil || len(data) < 32 {
		return // nothing is in it
	}
	page := int(binary.BigEndian.Uint32(data[8:]))
	committed := 32
	for at := 32; at+24+page <= len(data); at += 24 + page {
		if string(data[at+8:at+16]) != string(data[16:24]) {
			break // of an earlier use of the log
		}
		if binary.BigEndian.Uint32(data[at+4:]) != 0 {
			committed = at + 24 + page
		}
	}
	tail := data[committed:]
	if len(tail) > 0 && random.IntN(2) == 0 {
		tail = tail[:random.IntN(len(tail))]
	} else {
		tail = make([]byte, random.IntN(3*page))
		for i := range tail {
			tail[i] = byte(random.Uint32())
		}
	}
	must(t, os.WriteFile(log, append(data[:committed:committed], tail...), 0o644))
}

func TestLives(t *testing.T) {
	if text := os.Getenv(livesSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		liveThrough(t, seed)
		return
	}
	first := uint64(time.Now().UnixNano())
	n := lives * torture(t)
	if raced {
		n /= 8
	}
	for i := range n {
		seed := first + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			liveThrough(t, seed)
		})
	}
}

func liveThrough(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := livesSite(t, random)
	var story []string
	defer func() {
		if t.Failed() {
			t.Logf("%s=%d replays: %s", livesSeed, seed, strings.Join(story, "; "))
		}
	}()
	for killed := 0; ; killed++ {
		at, step, after := int64(0), false, time.Duration(0)
		how := ""
		switch random.IntN(3) {
		case 0:
			at = 1 + random.Int64N(300)
			how = fmt.Sprintf("killed at operation %d", at)
		case 1:
			at, step = 1+random.Int64N(8), true
			how = fmt.Sprintf("killed at step %d", at)
		case 2:
			after = time.Duration(1+random.Int64N(700)) * time.Millisecond
			how = fmt.Sprintf("killed after %v", after)
		}
		if killed == 6 { // live on
			at, after = 0, 0
		}
		if s.live(at, step, after) {
			break
		}
		story = append(story, how+", "+s.death(random))
		s.audit(false)
		if t.Failed() {
			return
		}
	}
	s.audit(true)
	r := openSite(t, s.dir)
	for state, n := range r.states() {
		if state != ledger.Archived && state != ledger.Deletable {
			t.Errorf("%d items are %s", n, state)
		}
	}
	r.drivesEmpty()
	r.close()
}
