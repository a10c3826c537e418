package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Packet types and numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02), and OpenSSH's extension to ask for limits
// (PROTOCOL in its sources, section 4.8).
const (
	typeInit          = 1
	typeVersion       = 2
	typeExtended      = 200
	typeExtendedReply = 201
	limitsExtension   = "limits@openssh.com"
)

const (
	// safePacket is what every server must be able to send in one reply to a read, in bytes.
	safePacket = 32 << 10
	// maxPacket is the most that OpenSSH sends; the library refuses packets above 256 KiB with their header.
	maxPacket = 255 << 10
	// maxReply bounds the packets of the negotiation.
	maxReply = 256 << 10
)

var errShort = errors.New("the SFTP server's packet ends too early")

// negotiate does the SFTP handshake and asks the server for its limits, which the library cannot do. What it returns is
// the stream for the library, for which the handshake is replayed: its first packet is swallowed and answered with the
// version packet that already came. received is called whenever bytes came in.
func negotiate(channel io.ReadWriteCloser, received func()) (stream io.ReadWriteCloser, packet int, err error) {
	init := []byte{0, 0, 0, 5, typeInit, 0, 0, 0, 3}
	if _, err := channel.Write(init); err != nil {
		return nil, 0, err
	}
	version, err := readPacket(channel)
	if err != nil {
		return nil, 0, err
	}
	extensions, err := parseVersion(version)
	if err != nil {
		return nil, 0, err
	}
	packet = safePacket
	if extensions[limitsExtension] == "1" {
		body := append([]byte{typeExtended, 0, 0, 0, 0}, lengthPrefixed(limitsExtension)...)
		if _, err := channel.Write(lengthPrefixed(string(body))); err != nil {
			return nil, 0, err
		}
		reply, err := readPacket(channel)
		if err != nil {
			return nil, 0, err
		}
		if packet, err = parseLimits(reply); err != nil {
			return nil, 0, err
		}
	}
	return &replay{
		Reader:   io.MultiReader(bytes.NewReader(lengthPrefixed(string(version))), &noted{channel, received}),
		channel:  channel,
		swallows: len(init),
	}, packet, nil
}

// readPacket returns a packet without its length.
func readPacket(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("the SFTP server ended the session: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxReply {
		// A login script that prints something ends up here.
		return nil, fmt.Errorf("the SFTP server's packet has %d bytes; it begins with %q: does a login script print something?", n, length)
	}
	packet := make([]byte, n)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, fmt.Errorf("the SFTP server ended the session: %w", err)
	}
	return packet, nil
}

// parseVersion returns the extensions that a version packet announces.
func parseVersion(packet []byte) (map[string]string, error) {
	if len(packet) < 5 {
		return nil, errShort
	}
	if version := binary.BigEndian.Uint32(packet[1:]); packet[0] != typeVersion || version != 3 {
		return nil, fmt.Errorf("the SFTP server speaks version %d (packet type %d), not version 3", version, packet[0])
	}
	extensions := make(map[string]string)
	for rest := packet[5:]; len(rest) > 0; {
		var name, data string
		var ok bool
		if name, rest, ok = cutString(rest); !ok {
			return nil, errShort
		}
		if data, rest, ok = cutString(rest); !ok {
			return nil, errShort
		}
		extensions[name] = data
	}
	return extensions, nil
}

// parseLimits returns how many bytes a read may ask for, from the reply to the limits request. A server that announced
// the extension but refuses the request gets the size that is always safe.
func parseLimits(packet []byte) (int, error) {
	if len(packet) < 5 {
		return 0, errShort
	}
	if packet[0] != typeExtendedReply {
		return safePacket, nil
	}
	if len(packet) < 5+3*8 {
		return 0, errShort
	}
	// Largest packet, largest read, largest write; 0 where the server knows no limit.
	whole, read := binary.BigEndian.Uint64(packet[5:]), binary.BigEndian.Uint64(packet[13:])
	size := uint64(maxPacket)
	if read > 0 {
		size = min(size, read)
	} else if whole > 0 {
		const header = 1024 // what OpenSSH keeps free for it
		size = min(size, max(whole, header+1)-header)
	} else {
		size = safePacket
	}
	return int(size), nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return "", nil, false
	}
	return string(b[4 : 4+n]), b[4+n:], true
}

func lengthPrefixed(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

// replay is the stream behind a handshake that was done already.
type replay struct {
	io.Reader
	channel  io.WriteCloser
	swallows int // bytes still to be swallowed
}

func (r *replay) Write(p []byte) (int, error) {
	skip := min(r.swallows, len(p))
	r.swallows -= skip
	if skip == len(p) {
		return skip, nil
	}
	n, err := r.channel.Write(p[skip:])
	return skip + n, err
}

func (r *replay) Close() error { return r.channel.Close() }

// noted tells when bytes came in.
type noted struct {
	r        io.Reader
	received func()
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if k > 0 {
		n.received()
	}
	return k, err
}
