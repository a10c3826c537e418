package scan

import (
	"errors"
	"strings"
	"testing"
)

// Whatever stands on a first record, it gets a name that fits on a line.
func FuzzIdentify(f *testing.F) {
	for _, seed := range []string{"", "VOL1", "VOL1ABCDEF", "VOL1000001              LTFS", "twintape volume label\n", strings.Repeat("x", 257) + "ustar"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		if name := identify(record, errors.New("why")); name == "" || strings.Contains(name, "\n") {
			t.Errorf("%q is called %q", record, name)
		}
	})
}
