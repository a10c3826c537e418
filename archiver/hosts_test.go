package archiver_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/sources"
	"twintape/sources/local"
	"twintape/sources/nfs"
	"twintape/sources/nfs/ganeshatest"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
)

// onFlush calls a function at the first flush.
type onFlush struct{ do func() }

func (o *onFlush) Emit(e event.Event) {
	if _, ok := e.(event.Flushed); ok && o.do != nil {
		o.do()
		o.do = nil
	}
}

// withSSH gives a site a second host, pot5, behind a real OpenSSH server. A timeout of 0 is the usual one.
func (s *site) withSSH(t *testing.T, timeout time.Duration) (*sshdtest.Server, string) {
	server := sshdtest.Start(t, sshdtest.Options{})
	root := filepath.Join(s.dir, "pot5")
	must(t, os.Mkdir(root, 0o755))
	here, err := local.New("pot1", s.data)
	must(t, err)
	there := sftp.New(sftp.Config{
		Host: "pot5", Address: server.Addr, User: server.User, IdentityFile: server.IdentityFile, KnownHosts: server.KnownHosts, Root: root, Timeout: timeout,
	})
	s.a.Namespace, err = sources.NewNamespace([]sources.Host{{Name: "pot1", Source: here}, {Name: "pot5", Source: there}})
	must(t, err)
	t.Cleanup(func() { must(t, s.a.Namespace.Close()) })
	return server, root
}

// Items of two hosts, one behind OpenSSH, go onto one pair; a connection that is cut in the middle is made again.
func TestTwoHosts(t *testing.T) {
	s := newSite(t, 64<<20)
	server, root := s.withSSH(t, 0)
	s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 2<<20, 2<<20, 1<<20
	s.observations(4, 1_000_000)
	for i := range 8 {
		dir := filepath.Join(root, fmt.Sprintf("far.%d.uv", i))
		must(t, os.Mkdir(dir, 0o750))
		must(t, os.WriteFile(filepath.Join(dir, "visdata"), pattern(100+i, 2_000_000+i), 0o640))
		must(t, os.Symlink("visdata", filepath.Join(dir, "link")))
	}
	q := s.queue("pot*:/**/*.uv")
	if len(q.Items) != 12 || len(q.Problems) > 0 {
		t.Fatalf("queued %d items, problems %v", len(q.Items), q.Problems)
	}
	s.a.Events = &onFlush{server.KillConnections}
	r, err := s.run()
	must(t, err)
	if r.Archived != 12 || !r.Good() {
		t.Fatalf("the report is %+v", r)
	}
	back := t.TempDir()
	s.extract("PAPR2001", back)
	for i := range 8 {
		got, err := os.ReadFile(filepath.Join(back, fmt.Sprintf("pot5/far.%d.uv/link", i)))
		must(t, err)
		if !bytes.Equal(got, pattern(100+i, 2_000_000+i)) {
			t.Errorf("far.%d.uv came back with other content", i)
		}
	}
}

// Items of three hosts, one local, one behind SSH and one behind NFS, go onto one pair in one job, though the connections of
// one are cut and the server of another is killed and started again in the middle; hard links stay.
func TestThreeHosts(t *testing.T) {
	s := newSite(t, 64<<20)
	ssh, far := s.withSSH(t, 0)
	s.observations(3, 1_000_000)
	for i := range 3 {
		must(t, os.WriteFile(filepath.Join(far, fmt.Sprintf("ssh.%d.uv", i)), pattern(200+i, 1_000_000), 0o640))
	}
	root := filepath.Join(s.dir, "pot6")
	must(t, os.Mkdir(root, 0o755))
	server := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: root}}})
	there, err := nfs.New(nfs.Config{Host: "pot6", Address: server.Addr, Root: root})
	must(t, err)
	hosts := []sources.Host{{Name: "pot6", Source: there}}
	for _, name := range s.a.Namespace.Hosts() {
		_, src, err := s.a.Namespace.Source(name)
		must(t, err)
		hosts = append(hosts, sources.Host{Name: name, Source: src})
	}
	s.a.Namespace, err = sources.NewNamespace(hosts)
	must(t, err)
	t.Cleanup(func() { must(t, there.Close()) })
	s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 2<<20, 2<<20, 1<<20
	for i := range 8 {
		dir := filepath.Join(root, fmt.Sprintf("far.%d.uv", i))
		must(t, os.Mkdir(dir, 0o750))
		must(t, os.WriteFile(filepath.Join(dir, "visdata"), pattern(100+i, 2_000_000+i), 0o640))
		must(t, os.Link(filepath.Join(dir, "visdata"), filepath.Join(dir, "same")))
	}
	q := s.queue("pot*:/**/*.uv")
	if len(q.Items) != 14 || len(q.Problems) > 0 {
		t.Fatalf("queued %d items, problems %v", len(q.Items), q.Problems)
	}
	s.a.Events = &onFlush{func() { ssh.KillConnections(); server.Restart() }}
	r, err := s.run()
	must(t, err)
	if r.Archived != 14 || !r.Good() {
		t.Fatalf("the report is %+v", r)
	}
	back := t.TempDir()
	s.extract("PAPR2001", back)
	for i := range 3 {
		got, err := os.ReadFile(filepath.Join(back, fmt.Sprintf("pot5/ssh.%d.uv", i)))
		must(t, err)
		if !bytes.Equal(got, pattern(200+i, 1_000_000)) {
			t.Errorf("ssh.%d.uv came back with other content", i)
		}
	}
	for i := range 8 {
		dir := filepath.Join(back, fmt.Sprintf("pot6/far.%d.uv", i))
		got, err := os.ReadFile(filepath.Join(dir, "visdata"))
		must(t, err)
		if !bytes.Equal(got, pattern(100+i, 2_000_000+i)) {
			t.Errorf("far.%d.uv came back with other content", i)
		}
		one, err := os.Stat(filepath.Join(dir, "visdata"))
		must(t, err)
		two, err := os.Stat(filepath.Join(dir, "same"))
		must(t, err)
		if !os.SameFile(one, two) {
			t.Errorf("far.%d.uv came back without its hard link", i)
		}
	}
}

// A host that is gone when the run begins fails its own items; the other's are archived.
func TestHostGone(t *testing.T) {
	s := newSite(t, 64<<20)
	server, root := s.withSSH(t, 0)
	s.observations(3, 10_000)
	must(t, os.Mkdir(filepath.Join(root, "far.uv"), 0o755))
	s.queue("pot*:/**/*.uv")
	server.Kill()
	r, err := s.run()
	must(t, err)
	if r.Archived != 3 || len(r.Failed) != 1 || !strings.Contains(r.Failed[0].Reason, "pot5") || !r.Good() {
		t.Fatalf("the report is %+v", r)
	}
	if got := s.states(); got[ledger.Failed] != 1 {
		t.Errorf("the states are %v", got)
	}
}

// A host that hangs, before the planning or in the middle of reading, fails its own items, and only those that are not read yet;
// the other host's are archived, and the rest waits.
func TestHostHangs(t *testing.T) {
	for _, phase := range []string{"before planning", "while it is read"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 64<<20)
			server, root := s.withSSH(t, 3*time.Second)
			s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 1<<20, 1<<20, 1<<20
			for i := range 6 {
				must(t, os.Mkdir(filepath.Join(root, fmt.Sprintf("far.%d.uv", i)), 0o755))
				must(t, os.WriteFile(filepath.Join(root, fmt.Sprintf("far.%d.uv/visdata", i)), pattern(i, 1_000_000), 0o644))
			}
			s.queue("pot5:/*.uv")
			s.observations(3, 1_000_000)
			s.queue("pot1:/obs/*.uv")
			if phase == "before planning" {
				server.Stop()
			} else {
				s.a.Events = &onFlush{server.Stop}
			}
			r, err := s.run()
			server.Cont()
			must(t, err)
			far := 9 - 3 - len(r.Failed)
			if r.Archived != 3+far || len(r.Failed) == 0 || (far == 0) != (phase == "before planning") || !r.Good() {
				t.Fatalf("the report is %+v", r)
			}
			for _, f := range r.Failed {
				if f.Host != "pot5" {
					t.Errorf("%s:%s failed: %s", f.Host, f.Path, f.Reason)
				}
			}
			s.truthful(r)
			if got := s.states(); got[ledger.Failed] != 6-far {
				t.Errorf("the states are %v", got)
			}
		})
	}
}
