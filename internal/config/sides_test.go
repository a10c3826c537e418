package config

import (
	"path"
	"strings"
	"testing"
)

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"PAPR1*", "PAPR2*", false},
		{"PAPR1*", "PAPR1*", true},
		{"PAPR*", "PAPR2*", true},
		{"*", "X", true},
		{"*1", "*2", false},
		{"A*", "*A", true},
		{"A*B", "A*C", false},
		{"A?", "A??", false},
		{"A?", "*1", true},
		{"A[0-4]*", "A[5-9]*", false},
		{"A[0-5]*", "A[5-9]*", true},
		{"A[^0-4]*", "A[0-4]*", false},
		{`A\*`, "A*", false}, // no barcode has a star
		{`A\1`, "A1", true},
		{"A", "A*", true},
		{"A**", "*A*1", true},
	} {
		if got := overlap(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		if got := overlap(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: %v", c.b, c.a, got)
		}
	}
}

func FuzzOverlap(f *testing.F) {
	f.Add("PAPR1*", "PAPR2*", "PAPR1001")
	f.Add("PAPR*", "*1", "PAPR1001")
	f.Add(`P[A-Z]\P?1*`, "[^B]*", "PAPR1001")
	f.Fuzz(func(t *testing.T, a, b, barcode string) {
		if strings.Trim(barcode, barcodeCharacters) != "" {
			return
		}
		inA, errA := path.Match(a, barcode)
		inB, errB := path.Match(b, barcode)
		if errA != nil || errB != nil {
			return
		}
		if inA && inB && !overlap(a, b) {
			t.Errorf("%q matches %q and %q, which are said not to overlap", barcode, a, b)
		}
		if overlap(a, b) != overlap(b, a) {
			t.Errorf("%q and %q: the order counts", a, b)
		}
	})
}
