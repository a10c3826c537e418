package catalog

import "strings"

// escaper escapes as GNU md5sum does.
var escaper = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r")

// SumsText returns the archive's MD5SUMS: a line for each File entry, as GNU md5sum writes it. An entry without an MD5,
// or with a reason why it is bad, has 32 zeros. Its length is Layout's Sums, whatever the checksums are.
func (a *Archive) SumsText() []byte {
	b := make([]byte, 0, a.SumsSize())
	for e := range a.onTape() {
		if e.Type != File {
			continue
		}
		sum := e.MD5
		if e.Bad != "" {
			sum = MD5{}
		}
		b = appendSum(b, sum, e.Host+e.Path)
	}
	return b
}

// appendSum adds one line of an MD5SUMS.
func appendSum(b []byte, sum MD5, name string) []byte {
	escaped := escaper.Replace(name)
	if escaped != name {
		b = append(b, '\\')
	}
	b = append(b, sum.String()...)
	b = append(b, "  "...)
	b = append(b, escaped...)
	return append(b, '\n')
}

// SumsSize returns the length of SumsText.
func (a *Archive) SumsSize() int64 {
	var n int64
	for e := range a.onTape() {
		if e.Type == File {
			n += sumSize(e.Host + e.Path)
		}
	}
	return n
}

// sumSize returns the length of a name's line.
func sumSize(name string) int64 { return int64(len(appendSum(nil, MD5{}, name))) }
