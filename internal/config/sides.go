package config

import (
	"path"
	"strings"
)

// overlap says whether some barcode matches both globs, which must be well-formed.
func overlap(a, b string) bool {
	as, bs := parts(a), parts(b)
	// meet[i][j] says whether what is left of a from part i on and of b from part j on can match the same text.
	meet := make([][]bool, len(as)+1)
	for i := len(as); i >= 0; i-- {
		meet[i] = make([]bool, len(bs)+1)
		for j := len(bs); j >= 0; j-- {
			switch {
			case i == len(as) && j == len(bs):
				meet[i][j] = true
			case i < len(as) && as[i] == "*":
				meet[i][j] = meet[i+1][j] || j < len(bs) && meet[i][j+1] && share("*", bs[j])
			case j < len(bs) && bs[j] == "*":
				meet[i][j] = meet[i][j+1] || i < len(as) && meet[i+1][j] && share(as[i], "*")
			case i < len(as) && j < len(bs):
				meet[i][j] = meet[i+1][j+1] && share(as[i], bs[j])
			}
		}
	}
	return meet[0][0]
}

// parts cuts a glob of path.Match into what matches one character each, and the stars between.
func parts(glob string) []string {
	var out []string
	for glob != "" {
		n := 1
		switch glob[0] {
		case '\\':
			n = 2
		case '[':
			for n < len(glob) && glob[n] != ']' {
				if glob[n] == '\\' {
					n++
				}
				n++
			}
			n++
		}
		n = min(n, len(glob))
		out, glob = append(out, glob[:n]), glob[n:]
	}
	return out
}

// barcodeCharacters are what labels in Code 39 are made of, and what virtual cartridges may have besides.
const barcodeCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.$%+ "

// share says whether a character of barcodes matches both parts.
func share(a, b string) bool {
	return strings.ContainsFunc(barcodeCharacters, func(r rune) bool {
		inA, errA := path.Match(a, string(r))
		inB, errB := path.Match(b, string(r))
		return errA == nil && errB == nil && inA && inB
	})
}
