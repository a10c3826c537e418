package sftp

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys is what known_hosts files say of one address.
type hostKeys struct {
	file   string
	addr   string // host:port
	known  []knownhosts.KnownKey
	accept ssh.HostKeyCallback // nil if there is no file
}

// hostKeyError says that a host's key is not trusted, and how that is mended.
type hostKeyError struct{ text string }

func (e *hostKeyError) Error() string { return e.text }

// readHostKeys reads the files that there are of those named. The first is where a key would be added.
func readHostKeys(files []string, addr string) (*hostKeys, error) {
	keys := &hostKeys{file: files[0], addr: addr}
	there := slices.DeleteFunc(slices.Clone(files), func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(there) == 0 {
		return keys, nil
	}
	accept, err := knownhosts.New(there...)
	if err != nil {
		return nil, fmt.Errorf("trusted host keys: %w", err)
	}
	keys.accept = accept
	// The library tells the keys it knows only to those who show a wrong one.
	wrong, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, err
	}
	var mismatch *knownhosts.KeyError
	if errors.As(accept(addr, nowhere, wrong), &mismatch) {
		keys.known = mismatch.Want
	}
	return keys, nil
}

// nowhere stands for the remote address: only the configured one counts, so a new lease changes nothing.
var nowhere = &net.TCPAddr{IP: net.IPv4zero}

// types returns the types of the known keys.
func (k *hostKeys) types() []string {
	var types []string
	for _, known := range k.known {
		types = append(types, known.Key.Type())
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// algorithms returns those that let the host show a key that is known, so that a host with several keys does not show
// another; nil, the library's choice, if none is known.
func (k *hostKeys) algorithms() []string {
	var algorithms []string
	for _, t := range k.types() {
		if t == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			algorithms = append(algorithms, t)
		}
	}
	return algorithms
}

// check is the ssh.HostKeyCallback.
func (k *hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	host, port, err := net.SplitHostPort(k.addr)
	if err != nil {
		return err
	}
	var mismatch *knownhosts.KeyError
	if k.accept != nil {
		err = k.accept(k.addr, nowhere, key)
		if err == nil {
			return nil
		}
		var revoked *knownhosts.RevokedError
		if errors.As(err, &revoked) {
			return &hostKeyError{fmt.Sprintf("the host key of %s, %s, is revoked by %s line %d", k.addr, shown, revoked.Revoked.Filename, revoked.Revoked.Line)}
		}
		if !errors.As(err, &mismatch) {
			return &hostKeyError{fmt.Sprintf("the host key of %s, %s, is refused by %s: %v", k.addr, shown, k.file, err)}
		}
	}
	if mismatch != nil && len(mismatch.Want) > 0 {
		var lines []string
		for _, want := range mismatch.Want {
			lines = append(lines, fmt.Sprintf("line %d: %s %s", want.Line, want.Key.Type(), ssh.FingerprintSHA256(want.Key)))
		}
		return &hostKeyError{fmt.Sprintf("the host key of %s has CHANGED: it shows %s, but %s has %s. If the host was set up anew, remove the old key: "+
			"ssh-keygen -R %s -f %s; otherwise somebody may stand in between", k.addr, shown, k.file, strings.Join(lines, ", "),
			quote(knownhosts.Normalize(k.addr)), quote(k.file))}
	}
	return &hostKeyError{fmt.Sprintf("the host key of %s is not known: it shows %s, and %s has none for it. If that fingerprint is the host's "+
		"(ssh-keygen -l -f /etc/ssh/ssh_host_%s_key.pub shows it there), add the key: ssh-keyscan -t %s -p %s %s >> %s",
		k.addr, shown, k.file, shortType(key), shortType(key), port, quote(host), quote(k.file))}
}

// shortType is the name of a key type as ssh-keyscan and the files in /etc/ssh spell it.
func shortType(key ssh.PublicKey) string {
	switch t := key.Type(); {
	case t == ssh.KeyAlgoRSA:
		return "rsa"
	case strings.HasPrefix(t, "ecdsa-"):
		return "ecdsa"
	default:
		return strings.TrimPrefix(t, "ssh-")
	}
}

// quote makes one word of a shell command.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
