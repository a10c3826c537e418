package archiver

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"twintape/internal/ledger"
)

// hostNumbers is the namespace of process numbers outside of all containers (PROC_PID_INIT_INO in the kernel's linux/proc_ns.h).
const hostNumbers = "pid:[4026531836]"

// ThisProcess identifies the running process among all that ever ran on this machine.
func ThisProcess() (ledger.Owner, error) { return process(os.Getpid()) }

func process(pid int) (ledger.Owner, error) {
	o := ledger.Owner{PID: pid}
	var err error
	if o.Machine, err = os.Hostname(); err != nil {
		return o, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return o, err
	}
	o.Boot = strings.TrimSpace(string(boot))
	// Containers have the kernel's boot in common, and process numbers of their own: each is a machine for itself.
	numbers, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return o, err
	}
	if numbers != hostNumbers {
		o.Boot += " " + numbers
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return o, err
	}
	// proc(5): the second field is the command in parentheses, which may hold anything; starttime is field 22.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return o, fmt.Errorf("/proc/%d/stat has %d fields behind the command", pid, len(fields))
	}
	o.Start, err = strconv.ParseInt(string(fields[19]), 10, 64)
	return o, err
}

// Alive tells whether the process of a job that has not ended may still run. On this machine, which is known by its boot, not by its
// name, that is certain; on others the job's lease tells.
func Alive(j ledger.Job) bool {
	here, err := ThisProcess()
	if err != nil {
		return true
	}
	if here.Boot != j.Owner.Boot {
		return !j.LeaseOver
	}
	now, err := process(j.Owner.PID)
	return err == nil && now.Start == j.Owner.Start
}
