package tape

import (
	"fmt"
	"time"
)

// Health is what a drive reports of itself and its cartridge since it was opened.
type Health struct {
	Alerts    []Alert       // that were raised, ascending
	Cleaning  bool          // it asks for a cleaning cartridge
	Read      int64         // bytes
	Written   int64         // bytes
	ReadTime  time.Duration // that the drive was busy reading
	WriteTime time.Duration // that the drive was busy writing
}

// Empty tells that there is nothing to keep.
func (h *Health) Empty() bool {
	return len(h.Alerts) == 0 && !h.Cleaning && h.Read == 0 && h.Written == 0
}

// Alert is the number of a TapeAlert flag (SSC-3, annex A), 1 to 64.
type Alert byte

// The alerts that callers decide on.
const (
	AlertMedia        Alert = 4 // the cartridge is damaged: it cannot be written or read
	AlertReadFailure  Alert = 5
	AlertWriteFailure Alert = 6
)

// CleaningWanted tells whether the alert is a wish for cleaning.
func (a Alert) CleaningWanted() bool { return a == 20 || a == 21 }

// String says what the alert means and what to do about it.
func (a Alert) String() string {
	if text := alerts[a]; text != "" {
		return fmt.Sprintf("TapeAlert %d: %s", byte(a), text)
	}
	return fmt.Sprintf("TapeAlert %d: see the drive's manual", byte(a))
}

// alerts is the list of TapeAlert flags, with what an operator can do.
var alerts = map[Alert]string{
	1:  "the drive has trouble reading; nothing is lost, but clean it, and verify this tape",
	2:  "the drive has trouble writing; nothing is lost, but clean it, and verify this tape",
	3:  "a read or write error could not be corrected: verify this tape in another drive",
	4:  "the cartridge is damaged: copy what can be read, and retire it",
	5:  "reading failed, because of the cartridge or the drive: try the tape in another drive",
	6:  "writing failed, because of the cartridge or the drive: try another cartridge in this drive",
	7:  "the cartridge has reached its end of life: copy it to a new one, and retire it",
	8:  "the cartridge is not of data grade: use another",
	9:  "the cartridge is write protected: flip its tab",
	10: "the cartridge cannot be ejected while the drive is in use",
	11: "a cleaning cartridge is in the drive",
	12: "the cartridge's format is not known to this drive: use a cartridge of its generation",
	13: "the tape has snapped in the drive: call service, do not pull",
	14: "the tape has snapped: retire it; recovering it is a specialist's work",
	15: "the cartridge's memory chip cannot be read: the tape works, but loads slowly; replace it soon",
	16: "the cartridge was ejected by force while it was used: verify it",
	17: "the cartridge is read-only in this drive: use one of its generation",
	18: "the tape's directory was damaged when it was loaded: finding places takes long; copy it anew",
	19: "the cartridge nears the end of its life: plan its replacement",
	20: "the drive must be cleaned now: `twintape tapes clean`",
	21: "the drive is due to be cleaned: `twintape tapes clean`",
	22: "the cleaning cartridge is used up: put in a new one",
	23: "the cleaning cartridge does not fit this drive: use the right one",
	26: "the drive's fan has failed: call service",
	27: "the drive's cooling has failed: call service",
	28: "the drive's power supply has failed: call service",
	29: "the drive draws too much power: call service",
	30: "the drive's hardware has a fault: switch it off and on; if that does not help, call service",
	31: "the drive's hardware has a fault that a reset may mend: switch it off and on",
	32: "the drive's interface has a fault: check cables and terminators",
	33: "the drive failed: eject the cartridge, and try again",
	34: "loading the drive's firmware failed",
	35: "humidity is out of bounds in the drive's place",
	36: "temperature is out of bounds in the drive's place",
	37: "the drive's supply voltage is out of bounds",
	38: "the drive is likely to fail soon: call service",
	39: "the drive has a fault: run its diagnostics, call service",
	51: "the tape's directory was not written at the last unload: finding places takes long; copy it anew",
	52: "the tape's system area could not be written: copy it, and retire it",
	53: "the tape's system area could not be read: copy it, and retire it",
	54: "the tape's beginning cannot be found: copy what can be read, and retire it",
	55: "loading failed: the cartridge or the drive has a fault; try the tape in another drive",
	56: "the tape cannot be unloaded: call service, do not pull",
	59: "the WORM cartridge has a fault in its integrity",
	60: "the WORM cartridge was to be overwritten: use another",
}
