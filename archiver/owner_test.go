package archiver_test

import (
	"testing"

	"twintape/archiver"
	"twintape/internal/ledger"
)

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
