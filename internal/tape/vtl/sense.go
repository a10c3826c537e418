package vtl

import (
	"errors"

	"twintape/internal/tape"
)

// sense is why a command did not simply succeed (SPC-4, 4.5).
type sense struct {
	key, asc, ascq     byte
	filemark, eom, ili bool
	info               int64 // what of the transfer or the count is left
	valid              bool  // info is
}

// Sense keys.
const (
	noSense        = 0x0
	recoveredError = 0x1
	notReady       = 0x2
	mediumError    = 0x3
	hardwareError  = 0x4
	illegalRequest = 0x5
	unitAttention  = 0x6
	dataProtect    = 0x7
	blankCheck     = 0x8
	volumeOverflow = 0xD
)

// What units answer with.
var (
	badOpcode       = &sense{key: illegalRequest, asc: 0x20}
	badElement      = &sense{key: illegalRequest, asc: 0x21, ascq: 0x01}
	badField        = &sense{key: illegalRequest, asc: 0x24}
	badLength       = &sense{key: illegalRequest, asc: 0x1A} // parameter list length error
	badParameter    = &sense{key: illegalRequest, asc: 0x26}
	notSaved        = &sense{key: illegalRequest, asc: 0x39}
	destinationFull = &sense{key: illegalRequest, asc: 0x3B, ascq: 0x0D}
	sourceEmpty     = &sense{key: illegalRequest, asc: 0x3B, ascq: 0x0E}
	prevented       = &sense{key: illegalRequest, asc: 0x53, ascq: 0x02}
	noMedium        = &sense{key: notReady, asc: 0x3A}
	offline         = &sense{key: notReady, asc: 0x04, ascq: 0x12}
	mediumChanged   = &sense{key: unitAttention, asc: 0x28}
	wasReset        = &sense{key: unitAttention, asc: 0x29}
	loadFailed      = &sense{key: mediumError, asc: 0x53}
	writeError      = &sense{key: mediumError, asc: 0x0C}
	readError       = &sense{key: mediumError, asc: 0x11}
	internalFailure = &sense{key: hardwareError, asc: 0x44}
	protectedMedium = &sense{key: dataProtect, asc: 0x27}
	cleanWanted     = &sense{key: recoveredError, asc: 0x00, ascq: 0x17}
)

// fixed is the sense in fixed format.
func (s *sense) fixed() []byte {
	b := make([]byte, 18)
	b[0] = 0x70
	if s.valid {
		b[0] |= 0x80
	}
	b[2] = s.key
	if s.filemark {
		b[2] |= 0x80
	}
	if s.eom {
		b[2] |= 0x40
	}
	if s.ili {
		b[2] |= 0x20
	}
	copy(b[3:7], put32(nil, int(int32(s.info))))
	b[7] = byte(len(b) - 8)
	b[12], b[13] = s.asc, s.ascq
	return b
}

// with is a sense with what is left of the transfer.
func (s sense) with(left int64) *sense {
	s.info, s.valid = left, true
	return &s
}

// senseOf is an error of a medium; other is for those that have no sense of their own.
func senseOf(err error, other *sense) *sense {
	var scsi *tape.SenseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &scsi):
		return &sense{key: scsi.Key, asc: scsi.ASC, ascq: scsi.ASCQ}
	case errors.Is(err, tape.ErrWriteProtect):
		return protectedMedium
	}
	return other
}
