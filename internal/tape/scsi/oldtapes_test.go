//go:build guest

package scsi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dumped writes both tapes as paper-dump did, with dd and tar straight onto the drives, and comes away with them in slots 1 and 2.
const dumped = `
mkdir -p work/paper.77.0 work/paper.77.1
ln -s "$DATA" work/paper.77.0/pot1:
ln -s "$DATA" work/paper.77.1/pot1:
cd work
{
	echo '## Paper dump catalog:77 (version: 4.0 on 20140102-0304)'
	echo '## two lines'
	echo '## more'
	i=0
	for n in 1 2 3 4; do
		echo "$i:1:$((i / 2)):$(md5sum <"$DATA/zen.$n.uv/visdata" | cut -c 1-32):pot1:/zen.$n.uv"
		i=$((i + 1))
	done
} >catalog
echo pot1:/zen >.file_list
tar -cf paper.77.0.tar paper.77.0/pot1:/zen.1.uv paper.77.0/pot1:/zen.2.uv
tar -cf paper.77.1.tar paper.77.1/pot1:/zen.3.uv paper.77.1/pot1:/zen.4.uv
for side in 0 1; do
	mtx -f "$CHANGER" load $((side + 1)) $side
	nst=$(echo $NODES | cut -d ' ' -f $((side + 1)))
	mt -f $nst setblk 0
	dd if=catalog of=$nst bs=32k conv=sync
	tar -b 40 -cf $nst .file_list paper.77.0.tar
	tar -b 40 -cf $nst .file_list paper.77.1.tar
	mt -f $nst offline
	mtx -f "$CHANGER" unload $((side + 1)) $side
done`

// What GNU tar and dd wrote onto real drives as paper-dump did is taken in, verified and restored, and comes back by the very
// commands that find prints.
func TestSiteOldTapes(t *testing.T) {
	s := newSite(t)
	s.observe(1, 4)
	must(t, os.MkdirAll(filepath.Join(s.data(), "zen.4.uv", "empty"), 0o755))
	s.run(0, "queue", "rm", "pot1:/zen.*.uv")
	cmd := exec.Command("sh", "-ec", dumped)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "DATA="+s.data(), "CHANGER="+s.changer, "NODES="+strings.Join(s.nodes, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out := s.run(0, "scan", "PAPR1001", "PAPR2001")
	t.Log(out)
	s.wants("scan", out, "PAPR1001: written by paper-dump", "PAPR2001: written by paper-dump", "1 session, 2 archives, 4 items, 4 copies", "0 archives, 0 items, 4 copies")
	s.run(0, "verify", "--sample", "0.1", "PAPR1001")
	s.whole()
	s.restored()

	// By hand: as find says, word for word, and as docs/tape-format.md does.
	var lines []string
	for line := range strings.Lines(s.run(0, "find", "--commands", "pot1:/zen.4.uv/**")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "mt ") || strings.HasPrefix(line, "dd if=/dev/nst0 ") || strings.Contains(line, "md5sum -c") {
			lines = append(lines, strings.ReplaceAll(line, "/dev/nst0", s.nodes[1]))
		}
	}
	if len(lines) != 5*3+3 {
		t.Fatalf("find --commands printed %q", lines)
	}
	lines = append([]string{"mtx -f " + s.changer + " load 2 1"}, lines...)
	lines = append(lines, "mt -f "+s.nodes[1]+" asf 2",
		"dd if="+s.nodes[1]+" bs=1M | tar -xOf - paper.77.1.tar | tar -tf - | grep paper.77.1/pot1:/zen.3.uv/visdata",
		"mt -f "+s.nodes[1]+" offline && mtx -f "+s.changer+" unload 2 1")
	by := exec.Command("sh", "-ec", strings.Join(lines, "\n"))
	by.Dir = t.TempDir()
	text, err := by.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%s", text)
	if strings.Count(string(text), ": OK\n") != 3 {
		t.Errorf("not all are right:\n%s", text)
	}
	if out, err := exec.Command("diff", "-r", filepath.Join(s.data(), "zen.4.uv"), filepath.Join(by.Dir, "pot1/zen.4.uv")).CombinedOutput(); err != nil {
		t.Errorf("what came back differs: %v\n%.500s", err, out)
	}
	// A job does not write on them.
	s.run(0, "queue", "add", "--again", "pot1:/zen.1.uv")
	s.run(6, "archive")
}
