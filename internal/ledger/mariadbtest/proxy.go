package mariadbtest

import (
	"bytes"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server, and cuts them apart when it is told.
type Proxy struct {
	Socket string // where it listens

	server   string
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	cut    bool
	commit CommitFault
	hits   int
	conns  map[net.Conn]bool

	orders int // that clients gave since Interrupt
	last   int // the one that is interrupted; 0 for none
	late   bool
	then   func()
	over   chan struct{}
}

// CommitFault is what happens to the next COMMIT that passes.
type CommitFault int

// The faults. Either way the client's connection breaks, and it cannot tell them apart.
const (
	NoFault   CommitFault = iota
	LoseOrder             // the server does not get it
	LoseReply             // the server carries it out
)

// Proxy begins one that ends with the test.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{Socket: filepath.Join(t.TempDir(), "p"), server: s.Socket(), conns: make(map[net.Conn]bool)}
	var err error
	if p.listener, err = net.Listen("unix", p.Socket); err != nil {
		t.Fatal(err)
	}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		p.Cut(true)
		p.listener.Close()
		p.done.Wait()
	})
	return p
}

// Cut breaks all connections, and those that are tried until it is called with false.
func (p *Proxy) Cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c := range p.conns {
		if cut {
			c.Close()
		}
	}
}

// Next lets a fault befall the next COMMIT.
func (p *Proxy) Next(f CommitFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commit = f
}

// Interrupt counts what clients order from now on, and breaks all connections for good at the one with that number: before the server
// gets it, or late, when the server has carried it out and the client has no answer. First it calls then; when all is over it closes what it
// returns. It lets all through if the number is 0.
func (p *Proxy) Interrupt(order int, late bool, then func()) (over <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders, p.last, p.late, p.then, p.cut, p.over = 0, order, late, then, false, make(chan struct{})
	return p.over
}

// Orders is how much was ordered since Interrupt: each statement is several, being prepared, run and closed.
func (p *Proxy) Orders() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orders
}

// interrupt counts an order; the one that is to be interrupted is the last of all that pass.
func (p *Proxy) interrupt() (now, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false, false
	}
	p.orders++
	if p.last == 0 || p.orders != p.last {
		return false, false
	}
	p.cut = true
	return true, p.late
}

// Hits is how many faults befell.
func (p *Proxy) Hits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.server)
		if err != nil || !p.add(client, server) {
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		p.done.Go(func() { p.pass(client, server, true) })
		p.done.Go(func() { p.pass(server, client, false) })
	}
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.cut
}

// order is the command COMMIT in the protocol: its length, its number, COM_QUERY, its text. It may come in one piece with what a
// server does not answer.
var order = []byte("\x07\x00\x00\x00\x03COMMIT")

func (p *Proxy) pass(from, to net.Conn, orders bool) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		fault := NoFault
		if orders && bytes.HasSuffix(buf[:n], order) {
			p.mu.Lock()
			if fault, p.commit = p.commit, NoFault; fault != NoFault {
				p.hits++
			}
			p.mu.Unlock()
		}
		if orders {
			now, late := p.interrupt()
			if now {
				p.then()
				from.Close()
			}
			if now && late {
				to.SetReadDeadline(time.Now().Add(time.Second)) // not all orders are answered
				to.Write(buf[:n])
				to.Read(buf) // it has carried it out
			}
			if now {
				p.Cut(true)
				close(p.over)
				return
			}
		}
		if fault == LoseOrder {
			return
		}
		if fault == LoseReply {
			from.Close() // before the server answers
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if fault == LoseReply {
			to.Read(buf) // it has carried it out
			return
		}
	}
}
