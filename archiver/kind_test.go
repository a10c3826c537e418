package archiver

import (
	"strings"
	"testing"
)

func FuzzKindOf(f *testing.F) {
	f.Add([]byte("VOL1PAPR01L             LTFS"))
	f.Add([]byte("## Paper dump catalog:4711 (version: 3 on 20131201-0203)\n"))
	f.Add([]byte("AMANDA: TAPESTART DATE 20131201\n"))
	f.Add([]byte("twintape volume label\nx"))
	tar := make([]byte, 512)
	copy(tar, "name")
	copy(tar[148:], "000641\x00 ")
	f.Add(tar)
	f.Fuzz(func(t *testing.T, record []byte) {
		kind := kindOf(record)
		if kind == "" || strings.ContainsFunc(kind, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", kind)
		}
	})
}
