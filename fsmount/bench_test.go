package fsmount_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/sources/sftp/sshdtest"
)

// The benchmarks compare with what would show the files otherwise, in interleaved rounds of the same run, and report the
// ratio of the medians: above 1 twintape is faster. Everything is mounted anew for each measurement, so that no page is
// cached but those of the source.

const rounds = 5

func median(of []time.Duration) float64 {
	slices.Sort(of)
	return of[len(of)/2].Seconds()
}

// compare runs ours and a peer in turn. amount is what each does, in unit.
func compare(b *testing.B, amount float64, unit string, ours, peer func() time.Duration) {
	b.Helper()
	for b.Loop() {
		var us, them []time.Duration
		for range rounds {
			us = append(us, ours())
			them = append(them, peer())
		}
		b.ReportMetric(amount/median(us), unit+"/s")
		b.ReportMetric(amount/median(them), "peer-"+unit+"/s")
		b.ReportMetric(median(them)/median(us), "ratio")
	}
	b.ReportMetric(0, "ns/op")
}

// other mounts something with another program, and takes it away when the function that it returns is called.
func other(b *testing.B, program string, args ...string) (mnt string, unmount func()) {
	b.Helper()
	mnt = b.TempDir()
	args = append(args, mnt)
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", program, err, out)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !mounted(b, mnt) {
		if time.Now().After(deadline) {
			b.Fatalf("%s mounts nothing", program)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return mnt, func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			b.Error(err)
		}
	}
}

// read reads a file to its end, 1 MiB at a time.
func read(b *testing.B, name string, want int64) time.Duration {
	b.Helper()
	began := time.Now()
	f, err := os.Open(name)
	must(b, err)
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	if err != nil || n != want {
		b.Fatalf("%s: %d bytes, %v", name, n, err)
	}
	return time.Since(began)
}

// big makes a file that lies in the page cache.
func big(b *testing.B, size int64) string {
	b.Helper()
	dir := b.TempDir()
	block := make([]byte, 1<<20)
	f, err := os.Create(filepath.Join(dir, "big"))
	must(b, err)
	for i := range size >> 20 {
		block[0], block[1] = byte(i), byte(i>>8)
		_, err := f.Write(block)
		must(b, err)
	}
	must(b, f.Close())
	return dir
}

// through reads a host's file through a mount of ours.
func through(b *testing.B, s site, size int64) time.Duration {
	b.Helper()
	m := mount(b, s)
	defer m.stop()
	return read(b, filepath.Join(m.mnt, "pot1/big"), size)
}

func BenchmarkLocal(b *testing.B) {
	const size = 1 << 30
	dir := big(b, size)
	hosts := []hostSpec{{Name: "pot1", Root: dir}}
	direct := func() time.Duration { return read(b, filepath.Join(dir, "big"), size) }
	b.Run("passthrough/direct", func(b *testing.B) {
		compare(b, size/1e6, "MB", func() time.Duration { return through(b, site{Hosts: hosts}, size) }, direct)
	})
	b.Run("plain/bindfs", func(b *testing.B) {
		compare(b, size/1e6, "MB", func() time.Duration { return through(b, site{Hosts: hosts, NoPassthrough: true}, size) }, func() time.Duration {
			mnt, unmount := other(b, "bindfs", "-r", dir)
			defer unmount()
			return read(b, filepath.Join(mnt, "big"), size)
		})
	})
}

// sshfs mounts a folder behind a server as it comes.
func sshfs(b *testing.B, s *sshdtest.Server, addr, dir string) (mnt string, unmount func()) {
	b.Helper()
	host, port, err := net.SplitHostPort(addr)
	must(b, err)
	return other(b, "sshfs", "-F", "none", "-o", "ro", "-p", port, "-o", "IdentityFile="+s.IdentityFile, "-o", "UserKnownHostsFile="+s.KnownHosts,
		"-o", "StrictHostKeyChecking=no", s.User+"@"+host+":"+dir)
}

func BenchmarkSSH(b *testing.B) {
	const size = 512 << 20
	dir := big(b, size)
	s := sshdtest.Start(b, sshdtest.Options{})
	ours := func() time.Duration {
		return through(b, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 30*time.Second)}}, size)
	}
	b.Run("sshfs", func(b *testing.B) {
		compare(b, size/1e6, "MB", ours, func() time.Duration {
			mnt, unmount := sshfs(b, s, s.Addr, dir)
			defer unmount()
			return read(b, filepath.Join(mnt, "big"), size)
		})
	})
	b.Run("rclone", func(b *testing.B) {
		host, port, err := net.SplitHostPort(s.Addr)
		must(b, err)
		remote := fmt.Sprintf(":sftp,host=%s,port=%s,user=%s,key_file=%q,known_hosts_file=%q:%s", host, port, s.User, s.IdentityFile, s.KnownHosts, dir)
		compare(b, size/1e6, "MB", ours, func() time.Duration {
			mnt, unmount := other(b, "rclone", "mount", "--read-only", "--daemon", "--config", "/dev/null", remote)
			defer unmount()
			return read(b, filepath.Join(mnt, "big"), size)
		})
	})
}

// delay forwards connections to an address and holds everything up on both ways, without narrowing the stream.
func delay(b *testing.B, to string, oneWay time.Duration) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	var running sync.WaitGroup
	b.Cleanup(func() { l.Close(); running.Wait() })
	pass := func(from, to net.Conn) {
		type late struct {
			data []byte
			at   time.Time
		}
		queue := make(chan late, 4096)
		running.Go(func() {
			defer to.Close()
			for p := range queue {
				time.Sleep(time.Until(p.at))
				if _, err := to.Write(p.data); err != nil {
					from.Close()
				}
			}
		})
		running.Go(func() {
			defer close(queue)
			for {
				data := make([]byte, 64<<10)
				n, err := from.Read(data)
				if n > 0 {
					queue <- late{data[:n], time.Now().Add(oneWay)}
				}
				if err != nil {
					return
				}
			}
		})
	}
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			pass(near, far)
			pass(far, near)
		}
	})
	return l.Addr().String()
}

// BenchmarkFarSSH has a host 20 ms away.
func BenchmarkFarSSH(b *testing.B) {
	const size = 128 << 20
	dir := big(b, size)
	s := sshdtest.Start(b, sshdtest.Options{})
	far := delay(b, s.Addr, 10*time.Millisecond)
	known, err := os.ReadFile(s.KnownHosts)
	must(b, err)
	_, port, err := net.SplitHostPort(s.Addr)
	must(b, err)
	_, farPort, err := net.SplitHostPort(far)
	must(b, err)
	more := append(known, []byte(strings.Replace(string(known), port, farPort, 1))...)
	must(b, os.WriteFile(s.KnownHosts, more, 0o600))
	h := overSSH(s, "pot1", dir, 30*time.Second)
	h.SFTP.Address = far
	compare(b, size/1e6, "MB", func() time.Duration { return through(b, site{Hosts: []hostSpec{h}}, size) }, func() time.Duration {
		mnt, unmount := sshfs(b, s, far, dir)
		defer unmount()
		return read(b, filepath.Join(mnt, "big"), size)
	})
}

// BenchmarkFind looks at 20,000 files by size: each must be told to find(1).
func BenchmarkFind(b *testing.B) {
	const files = 20_000
	dir := b.TempDir()
	for i := range files {
		p := filepath.Join(dir, fmt.Sprintf("%03d/%05d", i/100, i))
		must(b, errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte("x"), 0o644)))
	}
	find := func(mnt string) time.Duration {
		began := time.Now()
		out, err := exec.Command("bash", "-c", "find "+mnt+" -type f -size +0 | wc -l").Output()
		if err != nil || string(out) != fmt.Sprintln(files) {
			b.Fatalf("find: %s, %v", out, err)
		}
		return time.Since(began)
	}
	b.Run("warm/bindfs", func(b *testing.B) {
		m := mount(b, site{Hosts: []hostSpec{{Name: "pot1", Root: dir}}})
		mnt, unmount := other(b, "bindfs", "-r", dir)
		defer unmount()
		find(m.mnt)
		find(mnt)
		compare(b, files, "files", func() time.Duration { return find(m.mnt) }, func() time.Duration { return find(mnt) })
		m.stop()
	})
	b.Run("cold/sshfs", func(b *testing.B) {
		s := sshdtest.Start(b, sshdtest.Options{})
		compare(b, files, "files", func() time.Duration {
			m := mount(b, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 30*time.Second)}})
			defer m.stop()
			return find(m.mnt)
		}, func() time.Duration {
			mnt, unmount := sshfs(b, s, s.Addr, dir)
			defer unmount()
			return find(mnt)
		})
	})
}
