package mycnf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const secret = "hunter2"

func TestParse(t *testing.T) {
	c, err := Parse(`
# a comment
[mysqld]
whatever
[client]
host=db.example.org   # the server
port = 3307
user = 'twin tape'
password = "p#\"a\\ss\s" # quoted
database=paper
ssl_ca = ca.pem
ssl-verify-server-cert
; another
[mysql]
prompt = "x
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "db.example.org" || c.Port != 3307 || c.User != "twin tape" || c.Password != `p#"a\ss ` || c.Database != "paper" || c.CA != "ca.pem" || !c.SSL || !c.VerifyServer {
		t.Errorf("%+v", c)
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"": "unix /run/mysqld/mysqld.sock", "host=localhost": "unix /run/mysqld/mysqld.sock", "socket=/s": "unix /s", "host=localhost\nsocket=/s": "unix /s",
		"host=h\nsocket=/s": "tcp h:3306", "host=::1\nport=7": "tcp [::1]:7", "port=7": "tcp localhost:7", "host=localhost\nport=7": "tcp localhost:7",
	} {
		c, err := Parse("[client]\nuser=u\ndatabase=d\npassword=" + secret + "\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		network, address := c.Address()
		if got := network + " " + address; got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
		if strings.Contains(c.String(), secret) {
			t.Errorf("the password is in %s", c)
		}
	}
}

// TestFaults: each is an error of its own, and none tells the password.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	good := "[client]\nuser=u\ndatabase=d\npassword=" + secret + "\n"
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	link := func(to string) string {
		file := to + ".link"
		if err := os.Symlink(to, file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for name, c := range map[string]struct{ file, want string }{
		"missing":       {filepath.Join(dir, "none"), "there is no such file"},
		"a folder":      {dir, "no regular file"},
		"a pipe":        {pipe, "no regular file"},
		"empty":         {write("empty", "", 0o600), "is empty"},
		"group":         {write("group", good, 0o640), "others than its owner can get at it (mode 0640)"},
		"others":        {write("others", good, 0o602), "others than its owner can get at it (mode 0602)"},
		"huge":          {write("huge", strings.Repeat("#", maxSize+1), 0o600), "no option file"},
		"no section":    {write("section", "[mysqld]\nuser=u\n", 0o600), "no [client] section"},
		"before":        {write("before", "password="+secret+"\n", 0o600), "line 1: stands before the first [section]"},
		"no user":       {write("user", "[client]\ndatabase=d\npassword="+secret+"\n", 0o600), "no user"},
		"no database":   {write("database", "[client]\nuser=u\n", 0o600), "no database"},
		"no key":        {write("key", good+secret+"\n", 0o600), "line 5: is not a key"},
		"no equals":     {write("equals", "[client]\npassword "+secret+"\n", 0o600), "line 2: is not key = value"},
		"no value":      {write("value", good+"password\n", 0o600), "line 5: password has no value"},
		"misspelt":      {write("misspelt", good+"pasword="+secret+"\n", 0o600), "line 5: pasword is no key that twintape knows"},
		"alone":         {write("alone", good+"Hunter2"+secret+"==\n", 0o600), "line 5: it is no key that twintape knows"},
		"a bad one":     {link(write("bad", good, 0o644)), "others than its owner can get at it (mode 0644)"},
		"a link to nil": {link(filepath.Join(dir, "nil")), "there is no such file"},
		"quote":         {write("quote", good+"password='"+secret+"\n", 0o600), "line 5: the closing quote is missing"},
		"behind quote":  {write("behind", good+"password='a'"+secret+"\n", 0o600), "line 5: something follows the closing quote"},
		"port":          {write("port", good+"port="+secret+"\n", 0o600), "line 5: port is no number"},
		"truth":         {write("truth", good+"ssl="+secret+"\n", 0o600), "line 5: ssl is neither on nor off"},
		"bracket":       {write("bracket", "[client\n", 0o600), "line 1: the section's ]"},
		"include":       {write("include", "!include /etc/x\n", 0o600), "line 1: other files are not included"},
		"socket's name": {write("name", good+"ssl-verify-server-cert\n", 0o600), "ssl-verify-server-cert needs a host"},
	} {
		_, err := Read(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			continue
		}
		if _, serverErr := ReadServer(c.file); name == "no database" != (serverErr == nil) || serverErr != nil && serverErr.Error() != err.Error() {
			t.Errorf("%s, of a server: %v", name, serverErr)
		}
		if other, ok := seen[err.Error()]; ok {
			t.Errorf("%s says the same as %s", name, other)
		}
		seen[err.Error()] = name
	}
	if c, err := Read(write("good", good+"ssl-ca=ca.pem\n", 0o400)); err != nil || c.Password != secret || c.CA != filepath.Join(dir, "ca.pem") {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{"ssl-ca=/none.pem": "ssl-ca: ", "ssl-cert=/c": "belong together", "ssl-cert=/c\nssl-key=/k": "ssl-cert: "} {
		c, err := Parse(good + text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.TLS(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAsClientsDo compares the values of random lines with what MariaDB's own my_print_defaults makes of them.
func TestAsClientsDo(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	const alphabet = "\"\"''\\\\##==;[ \tabst"
	var want []string
	var text strings.Builder
	text.WriteString("[client]\n")
	for len(want) < 5000 {
		value := make([]byte, random.IntN(12))
		for i := range value {
			value[i] = alphabet[random.IntN(len(alphabet))]
		}
		c, err := Parse("[client]\nuser=u\ndatabase=d\npassword=" + string(value))
		if err != nil {
			if strings.Contains(err.Error(), string(value)) && len(value) > 3 {
				t.Errorf("%q is in %v", value, err)
			}
			continue
		}
		want = append(want, "--password="+c.Password)
		fmt.Fprintf(&text, "password=%s\n", value)
	}
	file := filepath.Join(t.TempDir(), "my.cnf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("my_print_defaults", "--defaults-file="+file, "client").Output()
	if err != nil {
		t.Fatalf("%v: install Debian's package mariadb-server", err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i, line := range strings.Split(text.String(), "\n")[1 : 1+len(want)] {
		if got[i] != want[i] {
			t.Fatalf("%s: clients read %q, we %q", line, got[i], want[i])
		}
	}
}

// FuzzParse: nothing makes the parser fail otherwise than by an error, and what is quoted comes back as it was.
func FuzzParse(f *testing.F) {
	f.Add("[client]\nuser=u\ndatabase=d\npassword = 'a\\'b' # c\n", "pass")
	f.Add("[client]\nssl\nport=1\n!x", "\\\"#'\n\x00")
	f.Fuzz(func(t *testing.T, text, password string) {
		if c, err := Parse(text); err == nil && (c.User == "" || c.Database == "") {
			t.Errorf("%+v", c)
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(password)
		c, err := Parse("[client]\nuser=u\ndatabase=d\npassword=\"" + quoted + "\"\n")
		if err != nil || c.Password != password {
			t.Errorf("%q came back as %q, %v", password, c.Password, err)
		}
	})
}
