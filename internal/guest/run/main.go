// Command run runs Go tests, built with the tag "guest", in a guest of their own (see package guest), and ends with their exit code.
//
//	go run ./internal/guest/run [-run REGEXP] [-results DIR] PACKAGE...
//
// In the guest the tests run as root, in their package's folder with its testdata, and find twintape on the PATH. With -script FILE
// a shell script runs instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"twintape/internal/guest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context) (int, error) {
	only := flag.String("run", "", "run only the tests that match")
	results := flag.String("results", "", "a folder that the guest sees as /results")
	script := flag.String("script", "", "run this shell script instead of tests")
	limit := flag.Duration("timeout", 15*time.Minute, "end the guest after this time")
	verbose := flag.Bool("v", false, "tell each test")
	flag.Parse()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	cache, err := os.UserCacheDir()
	if err != nil {
		return 0, err
	}
	image, err := guest.Prepare(ctx, filepath.Join(cache, "twintape-guest"))
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "guest-run-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	c := guest.Command{Files: make(map[string]string), Results: *results, Output: os.Stdout}
	if err := build(ctx, c.Files, filepath.Join(dir, "twintape"), "/usr/local/bin/twintape", "build", "./cmd/twintape"); err != nil {
		return 0, err
	}
	if *script != "" {
		text, err := os.ReadFile(*script)
		if err != nil {
			return 0, err
		}
		c.Script = string(text)
		return image.Run(ctx, c)
	}
	var b strings.Builder
	fmt.Fprintln(&b, "code=0")
	for _, pkg := range flag.Args() {
		pkg = filepath.Clean(pkg)
		name, to := filepath.Base(pkg)+".test", "/test/"+pkg
		if err := build(ctx, c.Files, filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")), to+"/"+name, "test", "-c", "-tags", "guest", "./"+pkg); err != nil {
			return 0, err
		}
		if err := addTree(c.Files, filepath.Join(pkg, "testdata"), to+"/testdata"); err != nil {
			return 0, err
		}
		args := fmt.Sprintf("-test.timeout %v", *limit)
		if *only != "" {
			args += " -test.run '" + *only + "'"
		}
		if *verbose {
			args += " -test.v"
		}
		fmt.Fprintf(&b, "cd %s && ./%s %s && echo 'ok  \t%s in the guest' || { code=1; echo 'FAIL\t%s in the guest'; }\n", to, name, args, pkg, pkg)
	}
	fmt.Fprintln(&b, "exit $code")
	c.Script = b.String()
	return image.Run(ctx, c)
}

// build runs `go` with args so that it writes a static program, for a place in the guest.
func build(ctx context.Context, files map[string]string, out, to string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{args[0], "-o", out}, args[1:len(args)-1]...), args[len(args)-1])...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	if _, err := os.Stat(out); err != nil {
		return fmt.Errorf("go %s made nothing: %w", strings.Join(args, " "), err)
	}
	files[to] = out
	return nil
}

// addTree adds a folder's files, if there is such a folder.
func addTree(files map[string]string, from, to string) error {
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[to+strings.TrimPrefix(p, from)] = p
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
