package catalog

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"twintape/internal/digest"
)

func TestTapeFileRoundTrip(t *testing.T) {
	_, archive, file := goldenTape(t)
	for _, r := range []io.Reader{bytes.NewReader(file), iotest.OneByteReader(bytes.NewReader(file)), iotest.DataErrReader(bytes.NewReader(file))} {
		var lines, crcs bytes.Buffer
		s, sum, err := ReadTapeFile(r, &lines, &crcs)
		if err != nil {
			t.Fatal(err)
		}
		if want := session(goldenArchive()); !reflect.DeepEqual(s, want) || sum != digest.MD5(lines.Bytes()) {
			t.Fatalf("got %+v, want %+v", s, want)
		}
		if !bytes.Equal(lines.Bytes(), goldenLines(t)) || crcs.Len() != 4*len(archive)/s.RecordSize {
			t.Fatal("lines or checksums differ from what was written")
		}
	}
}

// A flipped bit anywhere in the catalog's tape file is found.
func TestTapeFileFlips(t *testing.T) {
	_, _, file := goldenTape(t)
	for i := range file {
		file[i] ^= 1 << (i % 8)
		if _, _, err := ReadTapeFile(bytes.NewReader(file), io.Discard, io.Discard); !errors.Is(err, ErrFormat) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i, err)
		}
		file[i] ^= 1 << (i % 8)
	}
}

func TestTapeFileLength(t *testing.T) {
	_, _, file := goldenTape(t)
	broken := errors.New("drive 0 failed")
	for n := 0; n < len(file); n += 100 {
		if _, _, err := ReadTapeFile(bytes.NewReader(file[:n]), io.Discard, io.Discard); !errors.Is(err, ErrFormat) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		r := io.MultiReader(bytes.NewReader(file[:n]), failing{broken})
		if _, _, err := ReadTapeFile(r, io.Discard, io.Discard); !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Fatalf("a failing medium after %d bytes: %v", n, err)
		}
	}
	for _, more := range []int{1, 4096} {
		if _, _, err := ReadTapeFile(bytes.NewReader(append(file, make([]byte, more)...)), io.Discard, io.Discard); !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	}
}

// Input that is not what was announced is not written as a catalog.
func TestWriteTapeFileRefuses(t *testing.T) {
	s := session(goldenArchive())
	lines := goldenLines(t)
	size, sum := int64(len(lines)), MD5(digest.MD5(lines))
	write := func(size int64, sum MD5, crcs string, crcSize int64) error {
		_, err := WriteTapeFile(io.Discard, s, bytes.NewReader(lines), size, sum, strings.NewReader(crcs), crcSize)
		return err
	}
	if err := write(size, sum, "1234", 4); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"short lines":  write(size+1, sum, "1234", 4),
		"long lines":   write(size-1, sum, "1234", 4),
		"other md5":    write(size, wideMD5, "1234", 4),
		"short crcs":   write(size, sum, "123", 4),
		"long crcs":    write(size, sum, "12345", 4),
		"negative":     write(-1, sum, "1234", 4),
		"beyond int64": write(size, sum, "1234", maxSize+1),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzReadTapeFile(f *testing.F) {
	_, _, file := goldenTape(f)
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		var lines, crcs bytes.Buffer
		s, sum, err := ReadTapeFile(bytes.NewReader(b), &lines, &crcs)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		if _, err := WriteTapeFile(&again, s, &lines, int64(lines.Len()), sum, &crcs, int64(crcs.Len())); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatal("another tape file for the same catalog:", err)
		}
	})
}
