package catalog

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// ParseMD5 reads 32 lower-case hexadecimal digits. 32 zeros are the zero value, as MD5SUMS spells a bad member.
func ParseMD5(s string) (MD5, error) {
	var m MD5
	if len(s) != 2*len(m) || strings.ToLower(s) != s {
		return MD5{}, fmt.Errorf("%w: md5 %q is not 32 lower-case hexadecimal digits", ErrFormat, clip(s))
	}
	if _, err := hex.Decode(m[:], []byte(s)); err != nil {
		return MD5{}, fmt.Errorf("%w: md5 %q: %w", ErrFormat, s, err)
	}
	return m, nil
}

// String returns 32 hexadecimal digits.
func (m MD5) String() string { return hex.EncodeToString(m[:]) }

// IsZero tells that there is no checksum.
func (m MD5) IsZero() bool { return m == MD5{} }

// MarshalText returns the digits of String.
func (m MD5) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMD5.
func (m *MD5) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMD5(string(b))
	return err
}

// clip shortens what a message quotes of untrusted input.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
