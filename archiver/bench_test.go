package archiver_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
	"twintape/sources"
	"twintape/sources/local"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
)

// The benchmarks compare with the tools that would do the job otherwise, in interleaved rounds of the same run, and
// report the ratio of the median rates: above 1 twintape is faster. Sources are in the page cache, targets are allocated
// beforehand and in memory where there is room, so that no disk is measured.

const (
	rounds       = 5
	observations = 24
	observation  = 64 << 20 // bytes
)

// bench is the ground of one benchmark.
type bench struct {
	*testing.B
	dir  string
	data string
	src  sources.Source // of data; local if nil
}

func newBench(b *testing.B) *bench {
	b.Helper()
	dir := b.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err == nil && int64(fs.Bavail)*fs.Bsize > 8*observations*observation {
		shm, err := os.MkdirTemp("/dev/shm", "twintape-bench-")
		must(b, err)
		b.Cleanup(func() { os.RemoveAll(shm) })
		dir = shm
	}
	out := &bench{B: b, dir: dir, data: filepath.Join(dir, "data")}
	block := pattern(1, 1<<20)
	for i := range observations {
		obs := filepath.Join(out.data, fmt.Sprintf("zen.%04d.uv", i))
		must(b, os.MkdirAll(obs, 0o755))
		must(b, os.WriteFile(filepath.Join(obs, "header"), block[:3000], 0o644))
		f, err := os.Create(filepath.Join(obs, "visdata"))
		must(b, err)
		for k := range observation >> 20 {
			block[0], block[1] = byte(i), byte(k)
			_, err := f.Write(block)
			must(b, err)
		}
		must(b, f.Close())
	}
	return out
}

// allocate makes a file of n bytes that are all there.
func (b *bench) allocate(name string, n int64) string {
	b.Helper()
	p := filepath.Join(b.dir, name)
	f, err := os.Create(p)
	must(b, err)
	full := make([]byte, 1<<20)
	for i := range full {
		full[i] = 0xFF // a cartridge that begins so is blank
	}
	for range n >> 20 {
		_, err := f.Write(full)
		must(b, err)
	}
	must(b, f.Close())
	return p
}

// targets are what a site writes to.
type targets int

const (
	null      targets = iota // drives that discard
	allocated                // cartridges whose space is there already
	growing                  // cartridges that grow
)

// site makes a library of two cartridges and a new ledger, or opens the one that is given, with the observations queued.
func (b *bench) site(name string, to targets, open ...func() *ledger.Ledger) *archiver.Archiver {
	b.Helper()
	dir := filepath.Join(b.dir, name)
	must(b, virtual.Create(dir, virtual.Options{Drives: 2, Slots: 2}))
	if to == allocated {
		for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
			b.allocate(filepath.Join(name, barcode+".tap"), observations*(observation+8<<20))
		}
	}
	lib, err := virtual.Open(dir)
	must(b, err)
	b.Cleanup(func() { lib.Close() })
	var led *ledger.Ledger
	if len(open) > 0 {
		led = open[0]()
	} else {
		led, err = ledger.Create(b.Context(), filepath.Join(dir, "ledger.db"))
		must(b, err)
	}
	b.Cleanup(func() { led.Close() })
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		must(b, lib.AddCartridge(barcode, 8<<30))
		_, err := led.AddTape(b.Context(), ledger.Tape{Barcode: barcode, Capacity: 8 << 30})
		must(b, err)
	}
	src := b.src
	if src == nil {
		src, err = local.New("pot1", b.data)
		must(b, err)
	}
	ns, err := sources.NewNamespace([]sources.Host{{Name: "pot1", Source: src}})
	must(b, err)
	a := &archiver.Archiver{
		Settings: archiver.Settings{
			ArchiveSize: 1 << 30, RecordSize: 512 << 10, FlushBytes: 32e9, Memory: 256 << 20,
			Sides: [2]string{"PAPR1*", "PAPR2*"}, Sample: 1, Scratch: dir,
		},
		Namespace: ns, Library: lib, Ledger: led, Events: event.Discard,
	}
	if to == null {
		a.Library = discarding{lib}
	}
	q, err := a.QueueAdd(b.Context(), []string{"pot1:/zen.*.uv"}, nil, archiver.QueueOptions{})
	must(b, err)
	if len(q.Items) != observations {
		b.Fatalf("%d items were queued", len(q.Items))
	}
	return a
}

// discarding is a library whose drives count what is written, and keep nothing.
type discarding struct{ tape.Library }

func (l discarding) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return &discardingDrive{Drive: d}, err
}

type discardingDrive struct {
	tape.Drive
	block int64
}

func (d *discardingDrive) WriteRecord(context.Context, []byte) error { d.block++; return nil }
func (d *discardingDrive) WriteFilemark(context.Context) error       { d.block++; return nil }
func (d *discardingDrive) Flush(context.Context) error               { return nil }
func (d *discardingDrive) Position(context.Context) (tape.Position, error) {
	return tape.Position{Block: d.block}, nil
}

// write runs a job and returns how long it took up to the flushed catalog.
func (b *bench) write(a *archiver.Archiver) time.Duration {
	b.Helper()
	owner, err := archiver.ThisProcess()
	must(b, err)
	r, err := a.Run(b.Context(), owner, nil)
	if _, discards := a.Library.(discarding); err != nil && !discards || r == nil || r.Archived != observations {
		b.Fatalf("%+v: %v", r, err)
	}
	return r.Written
}

// shell runs a command line and returns how long it took.
func (b *bench) shell(line string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "sh", append([]string{"-ec", line, "sh"}, args...)...)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", line, err, out)
	}
	return time.Since(began)
}

func median(of []time.Duration) float64 {
	slices.Sort(of)
	return of[len(of)/2].Seconds()
}

// compare runs ours and a peer in turn and reports both rates and their ratio.
func (b *bench) compare(bytes int64, peerName string, ours, peer func(round int) time.Duration) {
	b.Helper()
	for b.Loop() {
		var us, them []time.Duration
		for round := range rounds {
			us = append(us, ours(round))
			them = append(them, peer(round))
		}
		mb := float64(bytes) / 1e6
		b.ReportMetric(mb/median(us), "MB/s")
		b.ReportMetric(mb/median(them), peerName+"-MB/s")
		b.ReportMetric(median(them)/median(us), "x-"+peerName)
	}
	b.ReportMetric(0, "ns/op")
}

const total = observations * observation

func BenchmarkWriteNullMbuffer(b *testing.B) {
	n := newBench(b)
	n.compare(total, "mbuffer",
		func(round int) time.Duration { return n.write(n.site(fmt.Sprint("null", round), null)) },
		func(int) time.Duration {
			return n.shell(`tar -b2048 -cf - -C "$1" . | mbuffer -q --hash md5 -s 1M -m 256M -f -o /dev/null -f -o /dev/null`, n.data)
		})
}

// cartridges writes to a new site of allocated cartridges in each round.
func (b *bench) cartridges() func(round int) time.Duration {
	return func(round int) time.Duration {
		name := fmt.Sprint("site", round)
		defer os.RemoveAll(filepath.Join(b.dir, name))
		return b.write(b.site(name, allocated))
	}
}

func BenchmarkWriteMbuffer(b *testing.B) {
	n := newBench(b)
	x, y := n.allocate("x", total+total/8), n.allocate("y", total+total/8)
	n.compare(total, "mbuffer", n.cartridges(), func(int) time.Duration {
		return n.shell(`tar -b2048 -cf - -C "$1" . | mbuffer -q --hash md5 -s 1M -m 256M -f -o "$2" -f -o "$3"; sync "$2" "$3"`, n.data, x, y)
	})
}

// BenchmarkWriteSSH has the observations on a host behind SSH, with the same cipher on both sides; sshd shares the machine.
func BenchmarkWriteSSH(b *testing.B) {
	n := newBench(b)
	s := sshdtest.Start(b, sshdtest.Options{})
	x, y := n.allocate("x", total+total/8), n.allocate("y", total+total/8)
	ours := n.cartridges()
	n.compare(total, "ssh-tar",
		func(round int) time.Duration {
			src := sftp.New(sftp.Config{
				Host: "pot1", Address: s.Addr, User: s.User, IdentityFile: s.IdentityFile, KnownHosts: s.KnownHosts, Root: n.data,
			})
			defer src.Close()
			n.src = src
			return ours(round)
		},
		func(int) time.Duration {
			host, port, err := net.SplitHostPort(s.Addr)
			must(b, err)
			return n.shell(`ssh -F none -p "$1" -i "$2" -o UserKnownHostsFile="$3" -c aes128-gcm@openssh.com "$4" "tar -b2048 -cf - -C $5 ." |
				mbuffer -q --hash md5 -s 1M -m 256M -f -o "$6" -f -o "$7"; sync "$6" "$7"`,
				port, s.IdentityFile, s.KnownHosts, s.User+"@"+host, n.data, x, y)
		})
}

// inMemory is a Python archiver's plain way: everything into a tar in memory, which is then written onto one target after
// the other. With "nested" it is paper-dump's: that tar inside another one. (Its batches of 12 GB are larger than this.)
const inMemory = `
import io, os, sys, tarfile
way, src, targets = sys.argv[1], sys.argv[2], [open(p, 'r+b') for p in sys.argv[3:]]
batch = io.BytesIO()
with tarfile.open(fileobj=batch, mode='w') as tar:
    for name in sorted(os.listdir(src)):
        tar.add(os.path.join(src, name), arcname=name)
if way == 'nested':
    inner, batch = batch, io.BytesIO()
    with tarfile.open(fileobj=batch, mode='w') as tar:
        info = tarfile.TarInfo('paper.1.1.tar')
        info.size = inner.tell()
        inner.seek(0)
        tar.addfile(info, inner)
for t in targets:
    t.write(batch.getbuffer())
for t in targets:
    t.flush()
    os.fsync(t.fileno())
`

func benchmarkPython(b *testing.B, way string) {
	n := newBench(b)
	x, y := n.allocate("x", total+total/8), n.allocate("y", total+total/8)
	n.compare(total, way, n.cartridges(), func(int) time.Duration {
		return n.shell(`exec python3 -c "$1" "$2" "$3" "$4" "$5"`, inMemory, way, n.data, x, y)
	})
}

func BenchmarkWritePython(b *testing.B)    { benchmarkPython(b, "python") }
func BenchmarkWritePaperDump(b *testing.B) { benchmarkPython(b, "nested") }

func BenchmarkVerifyMd5sum(b *testing.B) {
	n := newBench(b)
	a := n.site("site", growing)
	n.write(a)
	images := []string{filepath.Join(n.dir, "site", "PAPR1001.tap"), filepath.Join(n.dir, "site", "PAPR2001.tap")}
	n.compare(total, "md5sum",
		func(int) time.Duration {
			began := time.Now()
			reports, err := a.VerifyTapes(b.Context(), []string{"PAPR1001", "PAPR2001"})
			must(b, err)
			for _, r := range reports {
				if r.BytesRead != r.BytesTotal || r.DataRead < total {
					b.Fatalf("%s: %d of %d bytes were read", r.Barcode, r.BytesRead, r.BytesTotal)
				}
			}
			return time.Since(began)
		},
		func(int) time.Duration {
			return n.shell(`md5sum "$1" & md5sum "$2"; wait`, images...)
		})
}
