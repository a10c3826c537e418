// Package observation makes observations as a radio telescope's correlator leaves them: MIRIAD data sets named
// zen.<Julian date>.<polarization>.uv, each a folder with visdata, flags, header, history and vartable. They are for the
// demonstration, tests and benchmarks. The same options give the same bytes, names, modes and modification times on
// every machine. Calls for different folders may run concurrently.
package observation

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"twintape/internal/digest"
)

// Options says what to make.
type Options struct {
	Seed  uint64
	First float64  // Julian date of the first observation
	Count int      // how many observations, over all polarizations
	Bytes int64    // of one observation, all files together; at least MinBytes
	Pols  []string // one observation of each at every date, such as "xx", "yy"
}

// Observation is one data set that was made.
type Observation struct {
	Path       string // of the folder
	VisdataMD5 string // of the file visdata, in hex
	Bytes      int64  // of its files together
}

// MinBytes holds the small files of an observation and some data.
const MinBytes = 8 << 10

// A Julian date is counted in ticks of 1e-5 days, the digits that names have.
const (
	ticksPerDay = 100_000
	step        = 696 // ten minutes, from one observation to the next
	unixEpoch   = 244_058_750_000
)

// Write makes observations in dir, which it creates. It overwrites those of the same name. Any error says which file
// could not be written.
func Write(dir string, o Options) ([]Observation, error) {
	if o.Bytes < MinBytes || len(o.Pols) == 0 {
		return nil, fmt.Errorf("observations of %d bytes in %d polarizations: at least %d bytes and one polarization are needed",
			o.Bytes, len(o.Pols), MinBytes)
	}
	var all []Observation
	for i := range o.Count {
		tick := int64(math.Round(o.First*ticksPerDay)) + int64(i/len(o.Pols))*step
		made, err := write(dir, o.Seed, tick, o.Pols[i%len(o.Pols)], o.Bytes)
		if err != nil {
			return all, err
		}
		all = append(all, made)
	}
	return all, nil
}

// write makes one observation.
func write(dir string, seed uint64, tick int64, pol string, bytes int64) (Observation, error) {
	name := fmt.Sprintf("zen.%d.%05d.%s.uv", tick/ticksPerDay, tick%ticksPerDay, pol)
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Observation{}, err
	}
	// Whole seconds, which every host and every tool keeps.
	mtime := time.Unix((tick-unixEpoch)*86_400/ticksPerDay, 0)
	h := fnv.New64a()
	io.WriteString(h, name)
	random := rand.NewPCG(seed, h.Sum64())

	texts := map[string][]byte{"header": header(tick), "history": history(name, mtime), "vartable": []byte(vartable)}
	left := bytes
	for file, data := range texts {
		left -= int64(len(data))
		if err := put(filepath.Join(folder, file), mtime, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			return Observation{}, err
		}
	}
	// A word of flags holds 31 bits, one for each visibility of 8 bytes.
	flags := left / (1 + 31*8/4) / 4 * 4
	if err := put(filepath.Join(folder, "flags"), mtime, func(w io.Writer) error { return writeFlags(w, random, flags) }); err != nil {
		return Observation{}, err
	}
	sum := digest.NewMD5()
	err := put(filepath.Join(folder, "visdata"), mtime, func(w io.Writer) error {
		return writeVisdata(io.MultiWriter(w, sum), random, left-flags)
	})
	if err != nil {
		return Observation{}, err
	}
	if err := settle(folder, 0o755, mtime); err != nil {
		return Observation{}, err
	}
	return Observation{Path: folder, VisdataMD5: hex.EncodeToString(sum.Sum(nil)), Bytes: bytes}, nil
}

// put writes one file with a fixed mode and modification time.
func put(path string, mtime time.Time, content func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := content(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return settle(path, 0o644, mtime)
}

// settle makes mode and time independent of the process and the moment.
func settle(path string, mode os.FileMode, mtime time.Time) error {
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.Chtimes(path, mtime, mtime)
}

// writeVisdata writes n bytes of correlations: noise, which does not compress.
func writeVisdata(w io.Writer, random *rand.PCG, n int64) error {
	buf := make([]byte, 256<<10)
	for n > 0 {
		for i := 0; i < len(buf); i += 8 {
			binary.LittleEndian.PutUint64(buf[i:], random.Uint64())
		}
		part := buf[:min(n, int64(len(buf)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// writeFlags writes n bytes, n a multiple of 4: mostly good data, and a bad channel now and then.
func writeFlags(w io.Writer, random *rand.PCG, n int64) error {
	buf := make([]byte, 0, 64<<10)
	for i := int64(0); i < n; i += 4 {
		word := uint32(1<<31 - 1)
		if r := random.Uint64(); r%32 == 0 {
			word &^= 1 << (r >> 32 % 31)
		}
		buf = binary.BigEndian.AppendUint32(buf, word)
		if len(buf) == cap(buf) || i+4 >= n {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
