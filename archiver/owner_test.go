package archiver_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"twintape/archiver"
	"twintape/internal/ledger"
)

// ownerChild is set in a process that prints its owner.
const ownerChild = "TWINTAPE_OWNER_CHILD"

// A container is another machine: its process numbers say nothing here.
func TestContainer(t *testing.T) {
	if os.Getenv(ownerChild) != "" {
		o, err := archiver.ThisProcess()
		must(t, err)
		fmt.Printf("boot=%s=\n", o.Boot)
		return
	}
	this, err := archiver.ThisProcess()
	must(t, err)
	boot := func(command ...string) string {
		cmd := exec.Command(command[0], append(command[1:], os.Args[0], "-test.run=^TestContainer$")...)
		cmd.Env = append(os.Environ(), ownerChild+"=1")
		out, err := cmd.CombinedOutput()
		_, boot, found := strings.Cut(string(out), "boot=")
		boot, _, _ = strings.Cut(boot, "=\n")
		if err != nil || !found {
			t.Fatalf("%v: %s", err, out)
		}
		return boot
	}
	if got := boot("env"); got != this.Boot {
		t.Errorf("another process here is of %q, this one of %q", got, this.Boot)
	}
	if got := boot("unshare", "--pid", "--fork", "--mount-proc"); got == this.Boot {
		t.Errorf("a container is of %q, too", got)
	}
}

// Whether a job's process runs depends on its boot, its number and its start, whatever the machine is called today.
func TestAlive(t *testing.T) {
	this, err := archiver.ThisProcess()
	must(t, err)
	for name, c := range map[string]struct {
		change func(o *ledger.Owner)
		alive  bool
	}{
		"this process":                         {func(*ledger.Owner) {}, true},
		"the machine has another name":         {func(o *ledger.Owner) { o.Machine = "other" }, true},
		"the number is another process's":      {func(o *ledger.Owner) { o.Start++ }, false},
		"... and the machine has another name": {func(o *ledger.Owner) { o.Start++; o.Machine = "other" }, false},
		"there is no such process":             {func(o *ledger.Owner) { o.PID = 1 << 30 }, false},
		"before the reboot":                    {func(o *ledger.Owner) { o.Boot = "another" }, false},
		"... when the machine had other name":  {func(o *ledger.Owner) { o.Boot, o.Machine = "another", "other" }, false},
	} {
		o := this
		c.change(&o)
		if got := archiver.Alive(ledger.Job{Owner: o, LeaseOver: true}); got != c.alive {
			t.Errorf("%s: alive %t", name, got)
		}
	}
	o := this
	o.Boot = "another"
	if !archiver.Alive(ledger.Job{Owner: o}) {
		t.Error("another machine's process is dead before its lease ended")
	}
	o = this
	o.PID = 1 << 30
	if archiver.Alive(ledger.Job{Owner: o}) {
		t.Error("a dead process of this machine lives until its lease ends")
	}
}
