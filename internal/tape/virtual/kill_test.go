package virtual

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"twintape/internal/tape"
)

const (
	killDir    = "TWINTAPE_TEST_WRITE" // the library that the child writes to
	killFrom   = 8                     // the child overwrites from this block on
	killOld    = 48                    // records that were on the tape before
	killRecord = 512 << 10
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Println(writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled overwrites the tape in drive 0 again and again, and says so after each record.
func writeUntilKilled(dir string) error {
	lib, err := Open(dir)
	if err != nil {
		return err
	}
	d, err := lib.OpenDrive(context.Background(), 0)
	if err != nil {
		return err
	}
	if _, err := d.Load(context.Background()); err != nil {
		return err
	}
	if err := d.Locate(context.Background(), killFrom); err != nil {
		return err
	}
	for block := uint32(killFrom); ; block++ {
		if err := d.WriteRecord(context.Background(), killContent('n', block)); err != nil {
			return err
		}
		fmt.Println("written")
	}
}

// killContent tells in each of its 512 bytes when and where it was written.
func killContent(when byte, block uint32) []byte {
	p := bytes.Repeat([]byte{when}, 512)
	binary.LittleEndian.PutUint32(p, block)
	return bytes.Repeat(p, killRecord/len(p))
}

// A process that is killed while it overwrites a tape leaves a library that opens, and a tape on which each record is
// whole: what lies before, then a prefix of what it wrote, then nothing of what was there before.
func TestKilledWriter(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(Create(dir, Options{Drives: 1, Slots: 1}))
	lib, err := Open(dir)
	must(err)
	must(lib.AddCartridge("A00001", DefaultCapacity))
	must(lib.Load(ctx, 1, 0))
	fill := func() {
		d, err := lib.OpenDrive(ctx, 0)
		must(err)
		_, err = d.Load(ctx)
		must(err)
		for block := range uint32(killOld) {
			must(d.WriteRecord(ctx, killContent('o', block)))
		}
		must(errors.Join(d.Close(), lib.Close()))
	}
	fill()
	for round := range 12 {
		kill(t, dir, 1+round)
		lib, err = Open(dir)
		must(err)
		d, err := lib.OpenDrive(ctx, 0)
		must(err)
		_, err = d.Load(ctx)
		must(err)
		p := make([]byte, killRecord)
		for block := uint32(0); ; block++ {
			n, err := d.ReadRecord(ctx, p)
			if errors.Is(err, tape.ErrFilemark) && block >= killFrom+uint32(1+round) {
				if _, err = d.ReadRecord(ctx, p); errors.Is(err, tape.ErrEndOfData) {
					break
				}
			}
			if errors.Is(err, tape.ErrEndOfData) && block >= killFrom+uint32(1+round) {
				break
			}
			must(err)
			when := byte('n')
			if block < killFrom {
				when = 'o'
			}
			if !bytes.Equal(p[:n], killContent(when, block)) {
				t.Fatalf("round %d: block %d of %d bytes is not what was written there", round, block, n)
			}
		}
		must(d.Close())
		fill()
	}
}

// kill starts a writer, and kills it when it has written a number of records.
func kill(t *testing.T, dir string, records int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range records {
		if !lines.Scan() || lines.Text() != "written" {
			t.Errorf("the writer said %q", lines.Text())
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it reports the kill
}
