package sftp

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"testing"
)

func limitsReply(whole, read uint64) []byte {
	b := []byte{typeExtendedReply, 0, 0, 0, 0}
	for _, v := range []uint64{whole, read, 261120, 1000} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func TestParseLimits(t *testing.T) {
	for _, c := range []struct {
		reply []byte
		want  int
	}{
		{limitsReply(262144, 261120), 261120}, // OpenSSH
		{limitsReply(1<<63, 1<<63), 261120},
		{limitsReply(34000, 32768), 32768},
		{limitsReply(0, 4096), 4096},
		{limitsReply(65536, 0), 64512},
		{limitsReply(10, 0), 1},
		{limitsReply(0, 0), 32768},
		{[]byte{101, 0, 0, 0, 0, 0, 0, 0, 8}, 32768}, // refused
	} {
		if got, err := parseLimits(c.reply); err != nil || got != c.want {
			t.Errorf("parseLimits(%x) = %d, %v, want %d", c.reply, got, err, c.want)
		}
	}
	for _, short := range [][]byte{nil, {201}, limitsReply(1, 1)[:28]} {
		if got, err := parseLimits(short); err == nil {
			t.Errorf("parseLimits(%x) = %d", short, got)
		}
	}
}

func versionPacket(version uint32, pairs ...string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{typeVersion}, version)
	for _, s := range pairs {
		b = append(b, lengthPrefixed(s)...)
	}
	return b
}

func TestParseVersion(t *testing.T) {
	got, err := parseVersion(versionPacket(3, "a", "1", "limits@openssh.com", "1"))
	if err != nil || !maps.Equal(got, map[string]string{"a": "1", "limits@openssh.com": "1"}) {
		t.Errorf("%v, %v", got, err)
	}
	whole := versionPacket(3, "a", "1")
	for _, bad := range [][]byte{nil, whole[:4], whole[:len(whole)-1], whole[:12], versionPacket(2), {101, 0, 0, 0, 3}} {
		if got, err := parseVersion(bad); err == nil {
			t.Errorf("parseVersion(%x) = %v", bad, got)
		}
	}
}

// duplex is a server that has sent all it ever says.
type duplex struct {
	io.Reader
	bytes.Buffer
}

func (d *duplex) Read(p []byte) (int, error) { return d.Reader.Read(p) }
func (*duplex) Close() error                 { return nil }

func FuzzNegotiate(f *testing.F) {
	whole := func(packets ...[]byte) (b []byte) {
		for _, p := range packets {
			b = append(b, lengthPrefixed(string(p))...)
		}
		return b
	}
	f.Add(whole(versionPacket(3)))
	f.Add(whole(versionPacket(3, limitsExtension, "1"), limitsReply(262144, 261120), []byte("next")))
	f.Add(whole(versionPacket(3, limitsExtension, "1"), limitsReply(0, 0)))
	f.Add([]byte("Welcome to this host\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		d := &duplex{Reader: bytes.NewReader(sent)}
		stream, packet, err := negotiate(d, func() {})
		if err != nil {
			return
		}
		if packet < 1 || packet > maxPacket {
			t.Fatalf("requests of %d bytes", packet)
		}
		// The library must see the version packet, then what came after the negotiation; and what it writes after its
		// own first packet must reach the server, however it is cut.
		seen, err := io.ReadAll(stream)
		n := 4 + int(binary.BigEndian.Uint32(sent))
		if err != nil || !bytes.HasPrefix(seen, sent[:n]) || !bytes.HasSuffix(sent, seen[n:]) {
			t.Fatalf("the library sees %x of %x, %v", seen, sent, err)
		}
		d.Buffer.Reset()
		for _, part := range []string{"12345", "6789ab", "cd"} {
			if n, err := stream.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if d.Buffer.String() != "abcd" {
			t.Fatalf("the server sees %q", d.Buffer.String())
		}
	})
}

func TestParseAccounts(t *testing.T) {
	got := parseAccounts("root:x:0:0::/:\n# comment\nshort:x\nbad:x:nan:0:\ntoor:x:0:0::/:\n\xff:x:7:7:\n:x:8:8:\nlast:x:9:9:")
	if want := map[uint32]string{0: "root", 7: "\xff", 9: "last"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
