package observation

import (
	"encoding/binary"
	"fmt"
	"time"
)

// header holds the small items of a MIRIAD data set: each a name in 16 bytes, of which the last is the size of the value,
// and the value, which begins with its type.
func header(tick int64) []byte {
	const (
		typeInt  = 2
		typeText = 1
	)
	var b []byte
	item := func(name string, kind uint32, value []byte) {
		field := make([]byte, 16)
		copy(field, name)
		field[15] = byte(4 + len(value))
		b = append(b, field...)
		b = binary.BigEndian.AppendUint32(b, kind)
		b = append(b, value...)
		for len(b)%16 != 0 {
			b = append(b, 0)
		}
	}
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	item("obstype", typeText, []byte("mixed-auto-cross"))
	item("nwcorr", typeInt, number(0))
	item("ncorr", typeInt, number(1024))
	item("vislen", typeInt, number(tick))
	return b
}

// history tells what was done to the data so far.
func history(name string, mtime time.Time) []byte {
	at := mtime.UTC().Format("06Jan02:15:04:05")
	return fmt.Appendf(nil, "CORR2MIRIAD: %s created, %s\nCORR2MIRIAD: 64 inputs, 1024 channels from 0.1 to 0.2 GHz, 10.7 s integrations\n", name, at)
}

// vartable names the variables of a data set, each with its type.
const vartable = `r corr
r coord
r time
r baseline
i nspect
i nchan
d sfreq
d sdfreq
d restfreq
i nants
d antpos
i npol
i pol
d latitud
d longitu
d lst
d ra
d dec
d obsra
d obsdec
r inttime
a source
a telescop
a operator
a version
i nschan
i ischan
r epoch
r freq
d jyperk
`
