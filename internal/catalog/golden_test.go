package catalog

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"twintape/internal/digest"
)

var update = flag.Bool("update", false, "write testdata anew; a change of format needs another Version")

func goldenLabel() Label {
	return Label{
		Tape: tapeUUID, Pair: pairUUID, Barcode: "PAPR1001", Twin: "PAPR2001", RecordSize: 4096,
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// goldenArchive has every type of member, hostile names, and one that went bad.
func goldenArchive() *Archive {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	obs := "/data/zen.2456620.16691.xx.uv"
	e := func(p string, t Type, size int64) Entry {
		return Entry{Host: "pot1", Path: p, Type: t, Size: size, Mode: 0o644, MTime: at, UID: 1000, GID: 100, User: "obs", Group: "users"}
	}
	link := e(obs+"/latest", Symlink, 0)
	link.Link = "../zen"
	hard := e(obs+"/again", Hardlink, 0)
	hard.Link = obs + "/visdata"
	bad := e(obs+"/shrank", File, 300)
	bad.Bad = "shrank from 300 to 200 bytes while it was read"
	attrs := e(obs+"/flags", File, 5)
	attrs.Xattrs = map[string]string{"user.note": "naïve", "user.a=b": "\x00\xff"}
	attrs.UID, attrs.User, attrs.MTime = 1<<31, "öbs", time.Unix(-2, 250000000).UTC()
	dir := e(obs, Dir, 0)
	dir.Mode = 0o2755
	whole := e("/data/caf\xe9\n\\", File, 1000)
	whole.MTime = time.Unix(1400000000, 0).UTC()
	return &Archive{
		Pair: pairUUID, Session: sessionUUID, Job: jobUUID, Number: 1, TapeFile: 1, Record: 2, RecordSize: 4096,
		Items: []Item{
			{ID: 7, Host: "pot1", Path: obs, Bad: "shrank: shrank from 300 to 200 bytes while it was read", Entries: []Entry{
				dir, e(obs+"/visdata", File, 6000), e(obs+"/empty", File, 0), link, hard, bad, attrs, e(obs+"/socket", Socket, 0),
				e(obs+"/\x01\b\f\t\x7f\u2028<&>\"日本", File, 1),
			}},
			{ID: 8, Host: "pot1", Path: "/data/caf\xe9\n\\", Entries: []Entry{whole}},
		},
	}
}

// goldenTape returns label, archive and the catalog's tape file of a tape with one session.
func goldenTape(t rapid.TB) (label, archive, catalog []byte) {
	label, err := goldenLabel().Encode()
	if err != nil {
		t.Fatal(err)
	}
	a := goldenArchive()
	l, archive := build(t, a)
	s := session(a)
	s.Number, s.Record = 1, a.Record
	var lines, crcs, file bytes.Buffer
	size, sum := encode(t, &lines, s, []int64{l.Records}, a)
	for at := 0; at < len(archive); at += a.RecordSize {
		_ = binary.Write(&crcs, binary.LittleEndian, digest.CRC32C(archive[at:at+a.RecordSize]))
	}
	n, err := WriteTapeFile(&file, s, &lines, size, sum, &crcs, int64(crcs.Len()))
	if err != nil || n*int64(a.RecordSize) != int64(file.Len()) {
		t.Fatal(n, file.Len(), err)
	}
	return label, archive, file.Bytes()
}

// The bytes that the format's document describes. If this fails after a new Go release, archive/tar or encoding/json write
// other bytes than before: tapes of old could not be resumed.
func TestGolden(t *testing.T) {
	label, archive, catalog := goldenTape(t)
	for name, got := range map[string][]byte{
		"label.bin": label, "archive.tar": archive, "catalog.tar": catalog, "PAPR1001.tap": tap(4096, label, archive, catalog),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what is written now", file)
		}
	}
}

// tap is a virtual cartridge with these tape files.
func tap(recordSize int, files ...[]byte) []byte {
	var b []byte
	for _, f := range files {
		for at := 0; at < len(f); at += recordSize {
			b = binary.LittleEndian.AppendUint32(b, uint32(recordSize))
			b = append(b, f[at:at+recordSize]...)
			b = binary.LittleEndian.AppendUint32(b, uint32(recordSize))
		}
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	return binary.LittleEndian.AppendUint32(b, 0xFFFFFFFF)
}
