package sftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// authMethod logs in with a private key file, or with the agent's keys if file is empty. release is called when the
// handshake is over.
func authMethod(ctx context.Context, file string) (auth ssh.AuthMethod, release func(), err error) {
	if file == "" {
		return agentAuth(ctx)
	}
	signer, err := readIdentity(file)
	if err != nil {
		return nil, nil, err
	}
	return ssh.PublicKeys(signer), func() {}, nil
}

func readIdentity(file string) (ssh.Signer, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("identity file %s may be read by others (mode %04o): run chmod 600 %s", file, perm, quote(file))
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("identity file %s is protected by a passphrase: leave identity_file out of the host's configuration "+
			"and add the key to an SSH agent (ssh-add %s)", file, quote(file))
	}
	if err != nil {
		return nil, fmt.Errorf("identity file %s is no private key that can be used: %w", file, err)
	}
	return signer, nil
}

func agentAuth(ctx context.Context) (ssh.AuthMethod, func(), error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, errors.New("no way to log in: set identity_file in the host's configuration, or start an SSH agent (SSH_AUTH_SOCK is not set)")
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("SSH agent (SSH_AUTH_SOCK): %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() }) // an agent that hangs ends with the connect
	release := func() {
		stop()
		c.Close()
	}
	return ssh.PublicKeysCallback(agent.NewClient(c).Signers), release, nil
}

// explainHandshake says what to do about a handshake that failed.
func explainHandshake(err error, login, addr, identity string, keys *hostKeys) error {
	var untrusted *hostKeyError
	if errors.As(err, &untrusted) {
		return untrusted
	}
	var algorithms *ssh.AlgorithmNegotiationError
	if errors.As(err, &algorithms) && len(keys.known) > 0 {
		return fmt.Errorf("%s and this side have no common algorithm; %s trusts only these of its host keys: %v: %w",
			addr, keys.file, keys.types(), err)
	}
	if strings.Contains(err.Error(), "unable to authenticate") { // the library has no type for it
		with := "the keys of the SSH agent"
		if identity != "" {
			with = "the key " + identity
		}
		return fmt.Errorf("%s does not let %s in with %s; is its public key in the authorized_keys there? %w", addr, login, with, err)
	}
	return fmt.Errorf("SSH handshake with %s: %w", addr, err)
}
