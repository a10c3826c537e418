package vtl

import (
	"os"
	"strings"
	"testing"
)

// The document has each line of a control file, and each name of a command.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/vtl.md")
	if err != nil {
		t.Fatal(err)
	}
	for verb, form := range verbs {
		form = strings.TrimSpace(verb + " " + strings.Replace(form, "SENSE", "KEY/ASC/ASCQ", 1))
		if !strings.Contains(string(text), "| `"+form+"` |") {
			t.Errorf("docs/vtl.md has no %q", form)
		}
	}
	for name := range commands {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/vtl.md has no command %q", name)
		}
	}
}
