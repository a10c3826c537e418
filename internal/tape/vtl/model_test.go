package vtl

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"twintape/internal/tape/virtual"
)

// model is what a tape is for a drive: objects one behind the other (nil is a filemark), and a place.
type model struct {
	objects [][]byte
	at      int
}

func (m *model) put(o []byte) {
	m.objects = append(m.objects[:m.at:m.at], o)
	m.at++
}

func (m *model) marks() (n int64) {
	for _, o := range m.objects[:m.at] {
		if o == nil {
			n++
		}
	}
	return n
}

// space moves by blocks or filemarks, and returns the sense that it ends with.
func (m *model) space(count int, marks bool) string {
	for ; count > 0; count-- {
		for {
			if m.at == len(m.objects) {
				return fmt.Sprintf("8/00/05 left %d", count)
			}
			m.at++
			if o := m.objects[m.at-1]; o == nil && !marks {
				return fmt.Sprintf("0/00/01 filemark left %d", count)
			} else if (o == nil) == marks {
				break
			}
		}
	}
	for ; count < 0; count++ {
		for {
			if m.at == 0 {
				return fmt.Sprintf("0/00/04 eom left %d", -count)
			}
			m.at--
			if o := m.objects[m.at]; o == nil && !marks {
				return fmt.Sprintf("0/00/01 filemark left %d", -count)
			} else if (o == nil) == marks {
				break
			}
		}
	}
	return "good"
}

// copyBench is a bench in a copy of a library, which is faster than a new one.
func copyBench(t testing.TB, f failer, made, dir string) *bench {
	b := &bench{failer: f}
	b.must(os.CopyFS(dir, os.DirFS(made)))
	var err error
	b.lib, err = virtual.Open(dir)
	b.must(err)
	b.start(t, "")
	return b.ready(t)
}

// Whatever is done to a tape in whatever order, the drive answers as the model of a tape does.
func TestModel(t *testing.T) {
	dirs := 0
	base := t.TempDir()
	newBench(t, t, base+"/made", "").close()
	rapid.Check(t, func(r *rapid.T) {
		dirs++
		b := copyBench(t, r, base+"/made", fmt.Sprintf("%s/%d", base, dirs))
		defer b.close()
		var m model
		r.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { b.at(t, drive0, int64(m.at), m.marks()) },
			"write": func(r *rapid.T) {
				if m.at > 40 {
					r.Skip()
				}
				p := bytes.Repeat([]byte{byte(m.at)}, rapid.IntRange(1, 2000).Draw(r, "size"))
				b.write(t, drive0, "good", p)
				m.put(p)
			},
			"marks": func(r *rapid.T) {
				if m.at > 40 {
					r.Skip()
				}
				n := rapid.IntRange(0, 3).Draw(r, "count")
				b.marks(t, drive0, "good", byte(rapid.IntRange(0, 1).Draw(r, "immediate")), n)
				for range n {
					m.put(nil)
				}
			},
			"read": func(r *rapid.T) {
				room := rapid.IntRange(1, 2200).Draw(r, "room")
				var want string
				var o []byte
				switch {
				case m.at == len(m.objects):
					want = fmt.Sprintf("8/00/05 left %d", room)
				case m.objects[m.at] == nil:
					want = fmt.Sprintf("0/00/01 filemark left %d", room)
					m.at++
				default:
					o = m.objects[m.at]
					m.at++
					if want = "good"; len(o) != room {
						want = fmt.Sprintf("0/00/00 ili left %d", room-len(o))
					}
				}
				if p := b.read(t, drive0, want, 0, room, room); !bytes.Equal(p, o[:min(room, len(o))]) {
					r.Fatalf("read %d bytes that are not what was written", len(p))
				}
			},
			"space": func(r *rapid.T) {
				count, code := rapid.IntRange(-8, 8).Draw(r, "count"), rapid.IntRange(0, 1).Draw(r, "code")
				b.space(t, drive0, m.space(count, code == 1), byte(code), count&0xFFFFFF)
			},
			"locate": func(r *rapid.T) {
				block := rapid.IntRange(0, 50).Draw(r, "block")
				want := "good"
				if m.at = block; block > len(m.objects) {
					m.at, want = len(m.objects), "8/00/05"
				}
				b.ask(t, drive0, want, 0, opLocate10, 0, 0, 0, 0, byte(block>>8), byte(block), 0, 0, 0)
			},
			"erase": func(*rapid.T) {
				b.ask(t, drive0, "good", 0, opErase, 0, 0, 0, 0, 0)
				m.objects = m.objects[:m.at]
			},
			"reload": func(*rapid.T) {
				b.ask(t, drive0, "good", 0, opLoadUnload, 0, 0, 0, 0, 0)
				b.ask(t, drive0, "good", 0, opLoadUnload, 0, 0, 0, 1, 0)
				b.ask(t, drive0, "6/28/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
				m.at = 0
			},
		})
	})
}

// No command, whatever it is and brings along, makes a unit answer more than there is room for, or something else than an answer.
func FuzzCommands(f *testing.F) {
	f.Add([]byte{0x0A, 0, 0, 0, 8, 0, 0x10, 0, 0, 0, 1, 0, 0x01, 0, 0, 0, 0, 0, 0x08, 0, 0, 0, 8, 0})
	f.Add([]byte{0x1A, 0, 0x3F, 0, 0xFF, 0, 0x15, 0x10, 0, 0, 12, 0, 0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x11, 1, 0xFF, 0xFF, 0xFE, 0, 0x8C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0xE8, 0, 0})
	f.Add([]byte{0xB8, 0x10, 0, 0, 0xFF, 0xFF, 1, 0, 1, 0, 0, 0, 0xA5, 0, 0, 1, 4, 1, 1, 1, 0, 0, 0, 0})
	made := f.TempDir()
	newBench(f, f, made, "").close()
	f.Fuzz(func(t *testing.T, script []byte) {
		b := copyBench(t, t, made, t.TempDir())
		defer b.close()
		data := make([]byte, 64<<10)
		for n := 0; len(script) > 0 && n < 64; n++ {
			size := min(len(script), []int{6, 10, 10, 6, 16, 12, 6, 6}[script[0]>>5])
			var cdb []byte
			cdb, script = bytes.Clone(script[:size]), script[size:]
			if cdb[0] == opWriteFilemarks && size > 2 {
				cdb[2], cdb[3] = 0, 0 // millions of them take their time
			}
			room := data[:min(len(data), 37*len(script))]
			copy(room, script)
			for unit := range b.units {
				g := b.run(t, unit, cdb, room)
				if len(g.data) > 0 && Outbound(cdb[0]) {
					t.Fatalf("% X fills what it should read", cdb)
				}
			}
		}
	})
}
