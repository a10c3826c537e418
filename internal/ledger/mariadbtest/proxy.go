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

	mu    sync.Mutex
	cut   bool
	fault Fault
	left  int    // commands until the fault; 0: the next COMMIT meets it
	then  func() // what comes after it; nil if nothing
	hits  int
	conns map[net.Conn]bool

	orders int // that clients gave since Interrupt
	last   int // the one that is interrupted; 0 for none
	late   bool
	first  func()
	over   chan struct{}
}

// Fault is what happens to a command that passes.
type Fault int

// The faults. By the first two the client's connection breaks, and it cannot tell them apart.
const (
	NoFault   Fault = iota
	LoseOrder       // the server does not get it
	LoseReply       // the server carries it out
	Deadlock        // the server takes the transaction back and says so, as a cluster's does at a COMMIT when another node was faster
	LockWait        // the server says that it waited for another transaction for too long, and did nothing
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
func (p *Proxy) Next(f Fault) { p.In(0, f) }

// In lets a fault befall the nth command from now on, of whatever kind: 1 is the next.
func (p *Proxy) In(n int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.left, p.then = f, n, nil
}

// Then lets another fault befall the nth command behind the one that meets the first.
func (p *Proxy) Then(n int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.then = func() { p.fault, p.left = f, n }
}

// befalls is the fault of a command that passes.
func (p *Proxy) befalls(command []byte) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left > 0 {
		if p.left--; p.left > 0 {
			return NoFault
		}
	} else if !bytes.Equal(command, order) {
		return NoFault
	}
	f := p.fault
	if p.fault = NoFault; f != NoFault {
		p.hits++
	}
	if p.then != nil {
		p.then()
		p.then = nil
	}
	return f
}

// Interrupt counts what clients order from now on, and breaks all connections for good at the one with that number: before the server
// gets it, or late, when the server has carried it out and the client has no answer. Before that it calls first; when all is over it closes what it
// returns. It lets all through if the number is 0.
func (p *Proxy) Interrupt(order int, late bool, first func()) (over <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders, p.last, p.late, p.first, p.cut, p.over = 0, order, late, first, false, make(chan struct{})
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
		refuse := make(chan []byte, 1)
		p.done.Go(func() { p.commands(client, server, refuse) })
		p.done.Go(func() { p.answers(server, client, refuse) })
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

// command makes a query of a text in the protocol: its length, its number, COM_QUERY, its text.
func command(text string) []byte {
	return append([]byte{byte(1 + len(text)), 0, 0, 0, 3}, text...)
}

var order = command("COMMIT")

// refusal is an error of the server in the protocol.
func refusal(number uint16, state, text string) []byte {
	text = "#" + state + text
	return append([]byte{byte(3 + len(text)), 0, 0, 1, 0xff, byte(number), byte(number >> 8)}, text...)
}

// refusals are what a client gets instead of its answer, and what the server gets instead of its command.
var refusals = map[Fault]struct{ answer, instead []byte }{
	Deadlock: {refusal(1213, "40001", "Deadlock found when trying to get lock"), command("ROLLBACK")},
	LockWait: {refusal(1205, "HY000", "Lock wait timeout exceeded"), command("DO 0")},
}

// answered is what a client says without the commands that no server answers, which close a statement.
func answered(said []byte) []byte {
	const whole, closes = 9, 0x19
	for len(said) >= whole && said[4] == closes {
		said = said[whole:]
	}
	return said
}

// end closes a pair of connections.
func (p *Proxy) end(from, to net.Conn) {
	from.Close()
	to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
}

// commands passes on what a client says. A command begins with a packet of number 0; what logs in has others.
func (p *Proxy) commands(client, server net.Conn, refuse chan<- []byte) {
	defer p.end(client, server)
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		said := buf[:n]
		fault := NoFault
		if c := answered(said); len(c) > 4 && c[3] == 0 {
			fault = p.befalls(c)
		}
		now, late := p.interrupt()
		if now {
			p.first()
			client.Close()
		}
		if now && late {
			server.SetReadDeadline(time.Now().Add(time.Second)) // not all orders are answered
			server.Write(buf[:n])
			server.Read(buf) // it has carried it out
		}
		if now {
			p.Cut(true)
			close(p.over)
			return
		}
		switch fault {
		case LoseOrder:
			return
		case LoseReply:
			client.Close() // before the server answers
		case Deadlock, LockWait:
			refuse <- refusals[fault].answer
			said = refusals[fault].instead
		}
		if _, err := server.Write(said); err != nil {
			return
		}
		if fault == LoseReply {
			server.Read(buf) // it has carried it out
			return
		}
	}
}

func (p *Proxy) answers(server, client net.Conn, refuse <-chan []byte) {
	defer p.end(server, client)
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		said := buf[:n]
		select {
		case said = <-refuse:
		default:
		}
		if _, err := client.Write(said); err != nil {
			return
		}
	}
}
