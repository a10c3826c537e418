package catalog

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// What is really written never exceeds what the planner reckoned with.
func TestCostBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := archive(t, 1<<40), archive(t, 3000)
		var lines, crcs, inCatalog int64
		var out bytes.Buffer
		s := session(a)
		for i := range rapid.IntRange(0, 3).Draw(t, "earlier") {
			if int64(i)+2 < s.Record {
				s.Earlier = append(s.Earlier, Earlier{Session: tapeUUID, TapeFile: i + 1, Record: int64(i) + 1, MD5: wideMD5})
			}
		}
		c := NewWriter(&out, s)
		for i, x := range []*Archive{a, b} {
			onTape := ArchiveOverhead(a.RecordSize)
			if i == 1 {
				follow(x, a, crcs/4)
			}
			for j := range x.Items {
				archive, catalog, err := x.Items[j].Cost(a.RecordSize)
				if err != nil {
					t.Fatal(err)
				}
				onTape += archive
				inCatalog += catalog
			}
			l, err := x.Layout()
			if err != nil {
				t.Fatal(err)
			}
			if used := l.Records * int64(x.RecordSize); used > onTape {
				t.Fatalf("archive takes %d bytes, %d were planned", used, onTape)
			}
			outcome(t, x)
			if err := c.Archive(x, l.Records); err != nil {
				t.Fatal(err)
			}
			crcs += 4 * l.Records
		}
		lines, _, err := c.Close()
		if err != nil {
			t.Fatal(err)
		}
		records, err := TapeFileRecords(s, lines, crcs)
		if err != nil {
			t.Fatal(err)
		}
		if used, planned := records*int64(a.RecordSize), inCatalog+SessionOverhead(a.RecordSize, len(s.Earlier)); used > planned {
			t.Fatalf("catalog takes %d bytes, %d were planned", used, planned)
		}
	})
}
