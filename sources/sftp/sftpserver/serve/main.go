// Command serve shows a folder as an SFTP host on this machine, for trying twintape out without another host. Who holds
// the private key in the file -identity, which is made if it is missing, may log in and read. When it listens, it writes
// its host key to the file -known-hosts and prints its address; it ends on SIGTERM or SIGINT.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"twintape/sources/sftp/sftpserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root := flag.String("root", "", "folder that clients see as /")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	identity := flag.String("identity", "", "file with the private key that may log in; made if it is missing")
	knownHosts := flag.String("known-hosts", "", "file to write the host key to")
	flag.Parse()
	if *root == "" || *identity == "" || *knownHosts == "" || flag.NArg() > 0 {
		return errors.New("give -root, -identity and -known-hosts, and no other arguments; see -help")
	}
	signer, err := readKey(*identity)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = makeKey(*identity)
	}
	if err != nil {
		return fmt.Errorf("identity %s: %w", *identity, err)
	}
	s, err := sftpserver.Start(ctx, sftpserver.Config{Root: *root, Addr: *addr, Authorized: signer.PublicKey()})
	if err != nil {
		return err
	}
	line := knownhosts.Line([]string{knownhosts.Normalize(s.Addr)}, s.HostKey) + "\n"
	if err := os.WriteFile(*knownHosts, []byte(line), 0o644); err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Println(s.Addr)
	<-ctx.Done()
	return s.Close()
}

func readKey(file string) (ssh.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(data)
}

func makeKey(file string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}
