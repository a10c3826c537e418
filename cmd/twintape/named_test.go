package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named are calls of twintape, in messages and documents between backticks, in documents also as lines of their own.
var named = regexp.MustCompile("`twintape ([^`]*)`|(?m:^    twintape ([^#|\n]*))")

// What a message or a document tells somebody to type exists.
func TestNamedCommands(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		source := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		if d.IsDir() || !source && !strings.HasSuffix(path, ".md") && !strings.Contains(path, "/etc/") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			for _, call := range strings.Split(m[1]+m[2], "; twintape ") {
				found++
				if why := unknown(strings.Fields(call)); why != "" {
					t.Errorf("%s: `twintape %s`: %s", path, call, why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 50 {
		t.Errorf("only %d commands were found", found)
	}
}

// unknown says what of a call does not exist.
func unknown(words []string) string {
	root := newRootCommand(&app{})
	if len(words) > 0 && strings.HasPrefix(words[0], "--") || slices.Equal(words, []string{"volume", "label"}) { // how a label begins
		return ""
	}
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err.Error()
	}
	if len(rest) > 0 && cmd.HasSubCommands() && regexp.MustCompile("^[a-z]+$").MatchString(rest[0]) {
		return "there is no such subcommand"
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		known := true
		switch {
		case strings.HasPrefix(word, "--") && name != "help":
			known = cmd.Flags().Lookup(name) != nil || root.PersistentFlags().Lookup(name) != nil
		case len(word) == 2 && word[0] == '-':
			known = cmd.Flags().ShorthandLookup(name) != nil
		}
		if !known {
			return "there is no " + word
		}
	}
	return ""
}
