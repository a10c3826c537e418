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

// authMethod logs in with the target's private keys, and with the agent's if they are wanted too. release is called when
// the handshake is over.
func authMethod(ctx context.Context, t *target) (auth ssh.AuthMethod, release func(), err error) {
	var signers []ssh.Signer
	var faults []error
	for _, file := range t.identities {
		signer, err := readIdentity(file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		signers = append(signers, signer)
	}
	var agentSigners func() ([]ssh.Signer, error)
	if t.agent {
		if agentSigners, release, err = agentKeys(ctx); err != nil {
			faults = append(faults, err)
		}
	}
	switch {
	case agentSigners == nil && len(signers) == 0:
		return nil, nil, errors.Join(faults...)
	case agentSigners == nil:
		return ssh.PublicKeys(signers...), func() {}, nil
	}
	return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		more, err := agentSigners()
		if len(signers) > 0 {
			err = nil // those of the files may do
		}
		return append(signers, more...), err
	}), release, nil
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

// agentKeys connects to the SSH agent; ask returns its keys.
func agentKeys(ctx context.Context) (ask func() ([]ssh.Signer, error), release func(), err error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, errors.New("no way to log in: set identity_file in the host's configuration, or start an SSH agent (SSH_AUTH_SOCK is not set)")
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("SSH agent (SSH_AUTH_SOCK): %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() }) // an agent that hangs ends with the connect
	release = func() {
		stop()
		c.Close()
	}
	return agent.NewClient(c).Signers, release, nil
}

// explainHandshake says what to do about a handshake that failed.
func explainHandshake(err error, h hop) error {
	var untrusted *hostKeyError
	if errors.As(err, &untrusted) {
		return untrusted
	}
	var algorithms *ssh.AlgorithmNegotiationError
	if errors.As(err, &algorithms) && len(h.keys.known) > 0 {
		return fmt.Errorf("%s and this side have no common algorithm; %s trusts only these of its host keys: %v: %w",
			h.addr, h.keys.file, h.keys.types(), err)
	}
	if strings.Contains(err.Error(), "unable to authenticate") { // the library has no type for it
		with := "the keys of the SSH agent"
		if len(h.identities) > 0 {
			with = "the key " + strings.Join(h.identities, " or ")
		}
		return fmt.Errorf("%s does not let %s in with %s; is its public key in the authorized_keys there? %w", h.addr, h.login, with, err)
	}
	return fmt.Errorf("SSH handshake with %s: %w", h.addr, err)
}
