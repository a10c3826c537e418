package main

import (
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/ledger"
)

func TestStepOfADeadProcess(t *testing.T) {
	us, err := archiver.ThisProcess()
	if err != nil {
		t.Fatal(err)
	}
	j := ledger.Job{Step: ledger.Writing, Owner: us}
	if got := stepOf(j); got != "writing" {
		t.Errorf("our own job is %q", got)
	}
	j.Owner.Start-- // another process that had the same number
	if got := stepOf(j); got != "died while writing" {
		t.Errorf("the job of a process that is gone is %q", got)
	}
	j.Step, j.Ended = ledger.Stopped, time.Now()
	if got := stepOf(j); got != "stopped" {
		t.Errorf("a job that was stopped is %q", got)
	}
}
