package local

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// stubborn is a file system with one file, of a server that may stop answering.
type stubborn struct {
	fs.Inode
	mu   sync.Mutex
	wait chan struct{} // closed when the server answers again; nil while it answers
}

var (
	_ fs.NodeOnAdder   = (*stubborn)(nil)
	_ fs.NodeGetattrer = (*stubbornFile)(nil)
	_ fs.NodeOpener    = (*stubbornFile)(nil)
	_ fs.NodeReader    = (*stubbornFile)(nil)
)

type stubbornFile struct {
	fs.Inode
	server *stubborn
}

const content = "from afar"

func (r *stubborn) OnAdd(ctx context.Context) {
	r.AddChild("f", r.NewPersistentInode(ctx, &stubbornFile{server: r}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: 2}), false)
}

func (r *stubborn) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = make(chan struct{})
}

func (r *stubborn) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait != nil {
		close(r.wait)
		r.wait = nil
	}
}

func (r *stubborn) answer() {
	r.mu.Lock()
	wait := r.wait
	r.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

func (f *stubbornFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.server.answer()
	out.Mode, out.Size = syscall.S_IFREG|0o644, uint64(len(content))
	return 0
}

func (f *stubbornFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (f *stubbornFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.server.answer()
	return fuse.ReadResultData([]byte(content)[min(off, int64(len(content))):]), 0
}

// TestMountThatHangs: a kernel mount whose server stops answering fails each call in time, takes no thread for each for ever,
// and works again when the server does.
func TestMountThatHangs(t *testing.T) {
	mnt := t.TempDir()
	server := &stubborn{}
	none := time.Duration(0)
	m, err := fs.Mount(mnt, server, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true}, EntryTimeout: &none, AttrTimeout: &none})
	if err != nil {
		t.Fatalf("mounting (as root, or with Debian's fuse3): %v", err)
	}
	t.Cleanup(func() {
		server.thaw()
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
	})
	src, err := New("pot1", mnt)
	if err != nil {
		t.Fatal(err)
	}
	src.silence = 100 * time.Millisecond
	ctx := t.Context()
	f, err := src.Open(ctx, "/f")
	if err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context) (string, error) {
		p := bytes.Repeat([]byte("-"), len(content))
		n, err := f.ReadAt(ctx, p, 0)
		return string(p[:max(n, 0)]), err
	}
	if got, err := read(ctx); err != nil || got != content {
		t.Fatalf("%q, %v", got, err)
	}

	server.freeze()
	if _, err := read(ctx); !errors.Is(err, sources.ErrUnavailable) {
		t.Errorf("a read of a server that hangs: %v", err)
	}
	if _, err := src.Stat(ctx, "/f"); !errors.Is(err, sources.ErrUnavailable) {
		t.Errorf("a look at a server that hangs: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := read(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("a read that was given up: %v", err)
	}
	src.silence = time.Millisecond
	var all sync.WaitGroup
	for range 3 * mostAbandoned {
		all.Go(func() {
			if _, err := read(ctx); !errors.Is(err, sources.ErrUnavailable) {
				t.Errorf("one of many: %v", err)
			}
		})
		if src.abandoned.Load() >= mostAbandoned {
			break
		}
	}
	all.Wait()
	before := src.abandoned.Load()
	if _, err := read(ctx); !errors.Is(err, sources.ErrUnavailable) || before >= mostAbandoned && src.abandoned.Load() != before {
		t.Errorf("beyond the bound: %v, %d calls wait", err, src.abandoned.Load())
	}

	src.silence = time.Minute
	server.thaw()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := read(ctx)
		if err == nil && got == content && src.abandoned.Load() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("thawed: %q, %v, %d calls wait", got, err, src.abandoned.Load())
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
