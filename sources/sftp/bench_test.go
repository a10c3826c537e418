package sftp_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
	"twintape/sources/sourcetest"
)

const benchSize = 256 << 20

// BenchmarkRead reads a cached file through the source, several records at a time as the stream's fetchers do, and beside
// it with OpenSSH's own client at its best. Both share the machine with the server.
func BenchmarkRead(b *testing.B) {
	s := sshdtest.Start(b, sshdtest.Options{})
	root, _ := bigFile(b, benchSize)
	for _, size := range []int{512 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("source/%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				src := sftp.New(config(s, root))
				sourcetest.ReadThrough(b, src, "/big", benchSize, size)
				src.Close()
			}
		})
	}
	b.Run("openssh", func(b *testing.B) {
		b.SetBytes(benchSize)
		_, port, err := net.SplitHostPort(s.Addr)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			cmd := exec.Command("sftp", "-q", "-F", "none", "-P", port, "-i", s.IdentityFile, "-o", "UserKnownHostsFile="+s.KnownHosts,
				"-c", "aes128-gcm@openssh.com", "-B", "261120", s.User+"@127.0.0.1:"+filepath.Join(root, "big"), "/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
	})
}
