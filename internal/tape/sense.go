package tape

// Sense keys (SPC-4, table 28) that callers decide on.
const (
	NoSense     = 0x0
	MediumError = 0x3
	DataProtect = 0x7
)

// CleaningWanted tells whether the drive asks for a cleaning cartridge (ASC/ASCQ 00h/17h): a wish, not a failure.
func (e *SenseError) CleaningWanted() bool { return e.ASC == 0x00 && e.ASCQ == 0x17 }
