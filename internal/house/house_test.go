package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is what the import paths of our own packages begin with.
const module = "twintape/"

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
}

// violations tells what breaks the rules.
func violations(packages []pkg) []string {
	var found []string
	have := make(map[string]bool)
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		have[name] = true
		if p.Doc == "" {
			found = append(found, name+" has no doc comment: say what it promises, to whom, and what may run concurrently")
		}
		r, ok := rules[name]
		if !ok {
			found = append(found, name+" has no rule: add what it may import, and why")
			continue
		}
		for _, imported := range p.Imports {
			if of, ours := strings.CutPrefix(imported, module); ours {
				found = append(found, ownImport(name, of, r)...)
			} else {
				found = append(found, foreignImport(name, imported)...)
			}
		}
	}
	for name := range rules {
		if !have[name] {
			found = append(found, "there is a rule for "+name+", which does not exist")
		}
	}
	slices.Sort(found)
	return found
}

// ownImport judges that package name imports our package of.
func ownImport(name, of string, r rule) []string {
	var found []string
	if !slices.ContainsFunc(r.may, func(may string) bool { return covers(may, of) }) {
		found = append(found, fmt.Sprintf("%s imports %s: %s", name, of, r.why))
	}
	if slices.Contains(testOnly, of) && !slices.Contains(testOnly, name) {
		found = append(found, fmt.Sprintf("%s imports %s, which is for tests only", name, of))
	}
	return found
}

// covers says whether a line of a rule allows a package.
func covers(may, name string) bool {
	if top, all := strings.CutSuffix(may, "/..."); all {
		return name == top || strings.HasPrefix(name, top+"/")
	}
	return name == may
}

// foreignImport judges that package name imports one of the standard library or another module.
func foreignImport(name, of string) []string {
	var found []string
	for _, a := range apart {
		if a.what == of && !slices.Contains(a.only, name) {
			found = append(found, fmt.Sprintf("%s imports %s: %s", name, of, a.why))
		}
	}
	if slices.Contains(pure, name) && slices.Contains(ioPackages, of) {
		found = append(found, fmt.Sprintf("%s imports %s: it does no input and output of its own", name, of))
	}
	return found
}

// lookAt opens the folders of the module, so that go test does not take an earlier result for a house that changed since.
func lookAt(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains([]string{".git", "bin", "demo"}, d.Name()) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRulesHold(t *testing.T) {
	lookAt(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

// inOrder is a house that keeps the rules.
func inOrder() []pkg {
	var packages []pkg
	for name, r := range rules {
		p := pkg{ImportPath: module + name, Doc: "Package " + path.Base(name)}
		for _, may := range r.may {
			if !strings.HasSuffix(may, "/...") {
				p.Imports = append(p.Imports, module+may)
			}
		}
		packages = append(packages, p)
	}
	return packages
}

func TestViolationsAreFound(t *testing.T) {
	if v := violations(inOrder()); len(v) > 0 {
		t.Fatalf("a house in order: %q", v)
	}
	for _, c := range []struct{ from, to, want string }{
		{"sources", "twintape/sources/local", "sources imports sources/local"},
		{"sources/local", "twintape/sources/sftp", "sources/local imports sources/sftp"},
		{"verify", "twintape/archiver", "verify imports archiver"},
		{"archiver", "twintape/internal/tape/virtual", "archiver imports internal/tape/virtual"},
		{"archiver", "twintape/cmd/twintape", "archiver imports cmd/twintape"},
		{"cmd/twintape", "twintape/sources/sourcetest", "cmd/twintape imports sources/sourcetest, which is for tests only"},
		{"archiver", "github.com/sirupsen/logrus", "archiver imports github.com/sirupsen/logrus"},
		{"verify", "crypto/md5", "verify imports crypto/md5"},
		{"internal/catalog", "os", "internal/catalog imports os"},
	} {
		packages := inOrder()
		i := slices.IndexFunc(packages, func(p pkg) bool { return p.ImportPath == module+c.from })
		packages[i].Imports = append(packages[i].Imports, c.to)
		v := violations(packages)
		if len(v) != 1 || !strings.HasPrefix(v[0], c.want) {
			t.Errorf("%s imports %s: found %q", c.from, c.to, v)
		}
	}
	packages := append(inOrder(), pkg{ImportPath: module + "util", Doc: "Package util"})
	if v := violations(packages); len(v) != 1 || !strings.HasPrefix(v[0], "util has no rule") {
		t.Errorf("a package without a rule: found %q", v)
	}
	packages = inOrder()
	missing := strings.TrimPrefix(packages[0].ImportPath, module)
	packages[0].Doc = ""
	if v := violations(packages); len(v) != 1 || !strings.HasPrefix(v[0], missing+" has no doc comment") {
		t.Errorf("a package without a doc comment: found %q", v)
	}
	if v := violations(packages[1:]); len(v) != 1 || !strings.Contains(v[0], "a rule for "+missing) {
		t.Errorf("a rule without a package: found %q", v)
	}
}
