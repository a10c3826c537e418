// Package digest is the one place where twintape hashes: MD5 for what users check with md5sum, CRC32C for records. MD5
// guards against faults of media and machines, not against forgery; it is what the field's ledgers and tools carry.
package digest

import (
	"crypto/md5"
	"hash"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewMD5 returns a running MD5 (RFC 1321).
func NewMD5() hash.Hash { return md5.New() }

// MD5 returns the MD5 of p.
func MD5(p []byte) [16]byte { return md5.Sum(p) }

// CRC32C returns the CRC-32 of p with the Castagnoli polynomial (RFC 3720, appendix B.4).
func CRC32C(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }
