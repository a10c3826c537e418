package exitcode_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"twintape/internal/exitcode"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"nil with a code", exitcode.With(exitcode.Held, nil), 0},
		{"without a code", errors.New("x"), 1},
		{"with a code", exitcode.With(exitcode.Mismatch, errors.New("x")), 4},
		{"wrapped", fmt.Errorf("x: %w", exitcode.With(exitcode.Unavailable, errors.New("y"))), 6},
		{"joined", errors.Join(errors.New("x"), exitcode.With(exitcode.Nothing, errors.New("y"))), 3},
		{"the outermost counts", exitcode.With(exitcode.Usage, exitcode.With(exitcode.Held, errors.New("x"))), 2},
	} {
		if got := exitcode.Of(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Scripts rely on these numbers.
func TestHelp(t *testing.T) {
	const want = `  0  done
  1  failed, or some items failed and the rest succeeded
  2  the command line or the configuration is wrong
  3  there is nothing to do
  4  verification found a mismatch
  5  held: a hold is set, or another run has the lock
  6  the library, a drive, a tape or a host is not available
`
	if got := exitcode.Help(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestErrorStaysItself(t *testing.T) {
	err := exitcode.With(exitcode.Usage, fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != fs.ErrNotExist.Error() {
		t.Errorf("%v", err)
	}
}
