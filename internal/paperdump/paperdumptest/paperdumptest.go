// Package paperdumptest makes tapes as paper-dump did, with GNU tar and md5sum, for tests. It shares no code with what reads
// them.
package paperdumptest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Dump is one run of paper-dump, which wrote two tapes alike.
type Dump struct {
	PID      int
	Hosts    map[string]string // where each host's / is on this machine
	Archives [][]string        // the items of each, as host:/path
	Record   int               // bytes of the archives' records
	Short    bool              // an archive's last record is not filled up
	MD5s     map[string]string // what the catalog says of an item, where that is not true
	Unlisted []string          // items that the catalog lacks
	Missing  []string          // items that only the catalog has, in archive 0
	Twins    [2]string         // barcodes, for the catalog's lines; they need not be there
	Cut      map[int]int64     // inner tars that were cut after so many bytes, by archive
	Names    map[int]string    // sed's s command for the members' names of an archive
	Sparse   bool              // tar is told to leave holes out
	Scratch  string            // a folder
}

const catalogRecord = 32 << 10

// Records are what the tapes hold; nil is a filemark.
func (d *Dump) Records() ([][]byte, error) {
	catalog := fmt.Sprintf("## Paper dump catalog:%d (version: 4.0 on 20140102-0304)\n## This tape contains files listed below by archive and position.\n"+
		"## item_index:tape_index:archive_index:md5:host:path\n", d.PID)
	line := func(i, archive int, item, sum string) {
		catalog += fmt.Sprintf("%d:4.0[%s,%s]-%d:%d:%d:%s:%s\n", i, d.Twins[0], d.Twins[1], archive, i, archive, sum, item)
	}
	var files [][]byte
	index := 0
	for n, items := range d.Archives {
		file, err := d.archive(n, items)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		for _, item := range items {
			sum, err := d.sum(item)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(d.Unlisted, item) {
				line(index, n, item, sum)
			}
			index++
		}
	}
	for _, item := range d.Missing {
		line(index, 0, item, strings.Repeat("0a", 16))
		index++
	}
	first := make([]byte, catalogRecord)
	copy(first, catalog) // what is longer is lost
	records := [][]byte{first, nil}
	for _, file := range files {
		for len(file) > d.Record {
			records = append(records, file[:d.Record])
			file = file[d.Record:]
		}
		if !d.Short {
			file = append(file, make([]byte, d.Record-len(file))...)
		}
		records = append(records, file, nil)
	}
	return records, nil
}

// archive makes a tape file with tar.
func (d *Dump) archive(n int, items []string) ([]byte, error) {
	work, err := os.MkdirTemp(d.Scratch, "dump-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	name := fmt.Sprintf("paper.%d.%d", d.PID, n)
	if err := os.Mkdir(filepath.Join(work, name), 0o755); err != nil {
		return nil, err
	}
	for host, root := range d.Hosts {
		if err := os.Symlink(root, filepath.Join(work, name, host+":")); err != nil {
			return nil, err
		}
	}
	list := ""
	args := []string{"-C", work, "--format=gnu", "-P", "--transform=" + cmp.Or(d.Names[n], "s,^$,,"), "-cf", filepath.Join(work, name+".tar")}
	if d.Sparse {
		args = append(args, "--sparse")
	}
	args = append(args, "--")
	for _, item := range items {
		list += item + "\n"
		args = append(args, name+"/"+item)
	}
	if err := os.WriteFile(filepath.Join(work, ".file_list"), []byte(list), 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tar: %w: %s", err, out)
	}
	if size := d.Cut[n]; size > 0 {
		if err := os.Truncate(filepath.Join(work, name+".tar"), size); err != nil {
			return nil, err
		}
	}
	out, err := exec.Command("tar", "-C", work, "-c", "-b", "1", "-f", "-", ".file_list", name+".tar").Output()
	if err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	return out, nil
}

// sum is the MD5 of an item's visdata, as md5sum has it.
func (d *Dump) sum(item string) (string, error) {
	if sum := d.MD5s[item]; sum != "" {
		return sum, nil
	}
	host, p, _ := strings.Cut(item, ":")
	f, err := os.Open(filepath.Join(d.Hosts[host], p, "visdata"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	cmd := exec.Command("md5sum")
	cmd.Stdin = f
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("md5sum: %w", err)
	}
	return string(out[:32]), nil
}

// Image is a virtual cartridge, in the SIMH format, with the records; those at the blocks named cannot be read.
func Image(records [][]byte, unreadable ...int) []byte {
	var b bytes.Buffer
	word := func(n uint32) { binary.Write(&b, binary.LittleEndian, n) } //nolint:errcheck // never fails
	for block, r := range records {
		if r == nil {
			word(0)
			continue
		}
		length := uint32(len(r))
		if slices.Contains(unreadable, block) {
			length |= 8 << 28
		}
		word(length)
		b.Write(r)
		if len(r)%2 == 1 {
			b.WriteByte(0)
		}
		word(length)
	}
	word(0xffffffff)
	return b.Bytes()
}
