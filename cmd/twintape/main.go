// Command twintape archives observations from several hosts onto pairs of tapes, proves both tapes good, and records in its
// ledger what is where. `twintape --help` lists the commands; each file here is one of them: flags and configuration to
// wiring, progress to the terminal, errors to exit codes. What a command does lives in the packages that it calls.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"twintape/internal/exitcode"
)

// version is set by the build.
var version = "development"

func main() { os.Exit(run()) }

// run is main with an exit code: the command line's tests call it in a process of their own.
func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	a := &app{stop: stop}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go a.obey(signals, stop, cancel)
	err := newRootCommand(a).ExecuteContext(ctx)
	err = a.close(err)
	if err != nil {
		fmt.Fprintln(os.Stderr, "twintape: "+describe(err))
	}
	return exitcode.Of(err)
}

// obey ends a job at its next safe point at the first signal, and at once at the second; a command without safe points ends
// at the first. A further signal finds the kernel's default: it kills. obey runs as long as the process.
func (a *app) obey(signals chan os.Signal, stop chan<- struct{}, cancel context.CancelFunc) {
	<-signals
	close(stop)
	if a.inJob.Load() {
		fmt.Fprintln(os.Stderr, "twintape: stopping at the next safe point; once more to stop at once")
		<-signals
	}
	signal.Stop(signals)
	cancel()
}
