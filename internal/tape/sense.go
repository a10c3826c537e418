package tape

import "fmt"

// Sense keys (SPC-4, table 28).
const (
	NoSense        byte = 0x0
	RecoveredError byte = 0x1
	NotReady       byte = 0x2
	MediumError    byte = 0x3
	HardwareError  byte = 0x4
	IllegalRequest byte = 0x5
	UnitAttention  byte = 0x6
	DataProtect    byte = 0x7
	BlankCheck     byte = 0x8
	AbortedCommand byte = 0xB
	VolumeOverflow byte = 0xD
)

// SenseError is a SCSI check condition (SPC-4, table of additional sense codes).
type SenseError struct {
	Key, ASC, ASCQ byte
	Text           string // what it means and what to do about it
}

// Sense makes an error of a check condition, in the words of an operator.
func Sense(key, asc, ascq byte) *SenseError {
	return &SenseError{Key: key, ASC: asc, ASCQ: ascq, Text: meaning(key, asc, ascq)}
}

func (e *SenseError) Error() string {
	return fmt.Sprintf("%s (sense key %Xh, ASC/ASCQ %02Xh/%02Xh)", e.Text, e.Key, e.ASC, e.ASCQ)
}

// Is makes errors.Is tell the conditions that callers decide on.
func (e *SenseError) Is(target error) bool {
	switch target {
	case ErrNoMedium:
		return e.ASC == 0x3A
	case ErrWriteProtect:
		return e.Key == DataProtect && e.ASC == 0x27
	case ErrEndOfMedium:
		return e.Key == VolumeOverflow
	case ErrEndOfData:
		return e.Key == BlankCheck
	}
	return false
}

// CleaningWanted tells whether the drive asks for a cleaning cartridge (ASC/ASCQ 00h/17h): a wish, not a failure.
func (e *SenseError) CleaningWanted() bool { return e.ASC == 0x00 && e.ASCQ == 0x17 }

// BecomingReady tells whether waiting helps: the cartridge is being loaded or initialised, or an operation is under way.
func (e *SenseError) BecomingReady() bool {
	if e.Key != NotReady || e.ASC != 0x04 {
		return false
	}
	switch e.ASCQ {
	case 0x00, 0x01, 0x04, 0x07, 0x08, 0x09, 0x0A, 0x11, 0x1B, 0x24:
		return true
	}
	return false
}

// WasReset tells whether the device, or the bus, was reset, or switched off and on: a drive's tape was perhaps rewound, and
// what was not flushed is lost.
func (e *SenseError) WasReset() bool { return e.Key == UnitAttention && e.ASC == 0x29 }

// code is an additional sense code with its qualifier.
type code struct{ asc, ascq byte }

// anyQualifier stands for the qualifiers of a code that are not listed.
const anyQualifier = 0xFF

// meanings are the codes that libraries and drives report to an operator, with what to do. SPC-4, table D.2, and the IBM and HP
// manuals of LTO drives and libraries.
var meanings = map[code]string{
	{0x00, 0x02}:         "the end of the medium is reached",
	{0x00, 0x17}:         "the drive asks to be cleaned: `twintape tapes clean`",
	{0x03, 0x00}:         "the medium cannot be written: try the tape in another drive, retire it if it fails there",
	{0x04, 0x00}:         "the device is not ready, and does not say why: look at its panel",
	{0x04, 0x01}:         "the device is becoming ready: wait",
	{0x04, 0x02}:         "the cartridge lies in the drive, but is not loaded",
	{0x04, 0x03}:         "somebody must look at the device: see what its panel asks for",
	{0x04, 0x04}:         "the medium is being formatted: wait",
	{0x04, 0x07}:         "an operation is in progress: wait",
	{0x04, 0x12}:         "library is offline: bring it online at its panel or web page, then start again",
	{0x04, 0x22}:         "the device must be switched off and on",
	{0x04, anyQualifier}: "the device is not ready: look at its panel",
	{0x08, anyQualifier}: "the device does not answer: check its cable and power",
	{0x09, anyQualifier}: "the drive cannot follow the tape's tracks: clean it, and try the tape in another drive",
	{0x0C, anyQualifier}: "writing failed: clean the drive, and try another cartridge",
	{0x11, anyQualifier}: "the medium cannot be read here: clean the drive, or try the tape in another one",
	{0x14, anyQualifier}: "the record, or the end of the data, is not found: the tape was not closed properly, or is damaged",
	{0x15, anyQualifier}: "the mechanics do not get to the right place: look whether something blocks the way, then call service",
	{0x21, 0x01}:         "the library has no such element",
	{0x27, anyQualifier}: "the cartridge is write protected: flip its tab, then start again",
	{0x28, 0x00}:         "the cartridge was changed meanwhile",
	{0x28, 0x01}:         "the import/export station was opened",
	{0x29, anyQualifier}: "the device was reset or switched off and on: where the tape stands must be asked anew",
	{0x2A, anyQualifier}: "another program changed the device's parameters",
	{0x2C, anyQualifier}: "the device refuses the commands in this order",
	{0x30, 0x03}:         "a cleaning cartridge is in the drive, or the drive is being cleaned",
	{0x30, 0x07}:         "the drive could not be cleaned: the cleaning cartridge is used up, or does not fit",
	{0x30, 0x0C}:         "this is a WORM cartridge that was written already: use another",
	{0x30, 0x13}:         "this is a WORM cartridge: use another",
	{0x30, anyQualifier}: "the cartridge does not fit this drive's generation: use one that it can write",
	{0x31, anyQualifier}: "the medium's format is damaged: copy what can be read, and retire it",
	{0x33, anyQualifier}: "the tape has not the length that its kind should have: retire it",
	{0x3A, anyQualifier}: "there is no cartridge",
	{0x3B, 0x00}:         "the tape did not get to its place",
	{0x3B, 0x0D}:         "the place where the cartridge belongs is full",
	{0x3B, 0x0E}:         "the place where the cartridge should be is empty",
	{0x3B, 0x11}:         "the magazine is not accessible: put it in",
	{0x3B, 0x12}:         "the magazine is taken out: put it in",
	{0x3B, anyQualifier}: "the library cannot move the cartridge so",
	{0x3F, anyQualifier}: "the device's own code or state has changed: ask it anew",
	{0x40, anyQualifier}: "the device's self-test failed: call service",
	{0x44, anyQualifier}: "the device has an internal fault: switch it off and on, call service if it comes again",
	{0x4E, anyQualifier}: "the device was asked two things at once",
	{0x50, anyQualifier}: "writing behind what was there failed: clean the drive, and try the tape in another one",
	{0x51, anyQualifier}: "erasing failed: retire the tape",
	{0x52, anyQualifier}: "the cartridge has a fault: retire it",
	{0x53, 0x00}:         "the cartridge cannot be loaded or ejected: look at the drive's panel",
	{0x53, 0x02}:         "the drive does not let the cartridge out: it is in use, or must be unloaded first",
	{0x53, anyQualifier}: "the cartridge cannot be loaded or ejected: look at the drive's panel",
	{0x5D, anyQualifier}: "the device says that it is going to fail: call service",
	{0x83, anyQualifier}: "the library has a fault of its maker's own kind: see its panel",
	{0x82, anyQualifier}: "the drive asks to be cleaned, or has a fault of its maker's own kind: see its panel",
}

// keys are what sense keys mean where the codes say nothing that is known.
var keys = map[byte]string{
	NoSense:        "the device tells nothing",
	RecoveredError: "the device recovered from an error",
	NotReady:       "the device is not ready: look at its panel",
	MediumError:    "the medium is damaged or worn: try the tape in another drive",
	HardwareError:  "the device has a fault: switch it off and on, call service if it comes again",
	IllegalRequest: "the device does not know, or refuses, this command",
	UnitAttention:  "something changed meanwhile: start again",
	DataProtect:    "the cartridge is protected",
	BlankCheck:     "nothing more was written there",
	AbortedCommand: "the device gave the command up: check cables, then start again",
	VolumeOverflow: "the cartridge is full",
}

func meaning(key, asc, ascq byte) string {
	if text, ok := meanings[code{asc, ascq}]; ok {
		return text
	}
	if text, ok := meanings[code{asc, anyQualifier}]; ok {
		return text
	}
	if text, ok := keys[key]; ok {
		return text
	}
	return "the device reports a fault: see its manual"
}
