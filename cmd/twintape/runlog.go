package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"twintape/internal/event"
	"twintape/internal/exitcode"
)

// keptLogs is how many files of earlier runs stay.
const keptLogs = 100

// runLog is the file of one run in <state_dir>/log: every fact of it, its report and how it ended, without a terminal's bars.
type runLog struct {
	file *os.File
	log  *logrus.Logger
}

// openRunLog begins the file of a run and lets the link "current" point to it. Where standard error goes to the journal
// there is none: nil.
func openRunLog(stateDir, command string) (*runLog, error) {
	if toJournal(os.Getenv("JOURNAL_STREAM"), os.Stderr) {
		return nil, nil
	}
	dir := filepath.Join(stateDir, "log")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name := command + "-" + time.Now().UTC().Format("20060102T150405.000Z") + ".log"
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	r := &runLog{file: f, log: logrus.New()}
	r.log.SetOutput(f)
	r.log.SetLevel(logrus.DebugLevel)
	r.log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: true})
	r.log.Infof("twintape %s, process %d: %s", version, os.Getpid(), strings.Join(os.Args[1:], " "))
	return r, errors.Join(pointCurrent(dir, name), dropOldLogs(dir))
}

// toJournal tells whether a file is what systemd says is connected to the journal (systemd.exec(5), $JOURNAL_STREAM).
func toJournal(stream string, f *os.File) bool {
	var st unix.Stat_t
	return stream != "" && unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// pointCurrent replaces the link as a whole.
func pointCurrent(dir, name string) error {
	draft := filepath.Join(dir, "current.new")
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(name, draft); err != nil {
		return err
	}
	return os.Rename(draft, filepath.Join(dir, "current"))
}

func dropOldLogs(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*-*.log"))
	if err != nil {
		return err
	}
	// By time, whatever the command: the time is what follows its name.
	slices.SortFunc(logs, func(a, b string) int { return strings.Compare(startOf(a), startOf(b)) })
	for len(logs) > keptLogs {
		err = errors.Join(err, os.Remove(logs[0]))
		logs = logs[1:]
	}
	return err
}

func startOf(log string) string {
	name := filepath.Base(log)
	return name[strings.IndexByte(name, '-')+1:]
}

// end notes how the run ended.
func (r *runLog) end(err error) error {
	if err != nil {
		r.log.Error(describe(err))
	}
	r.log.Infof("exit code %d", exitcode.Of(err))
	return r.file.Close()
}

// faces shows events on several faces.
type faces []face

func (f faces) Emit(e event.Event) {
	for _, one := range f {
		one.Emit(e)
	}
}

func (f faces) Close() {
	for _, one := range f {
		one.Close()
	}
}

// face shows a run's events: on the terminal or in the log, and in the run's file.
func (a *app) face(out io.Writer) face {
	shown := newFace(a.log, out)
	if a.runLog == nil {
		return shown
	}
	return faces{shown, newLines(a.runLog.log)}
}

// reportTo is where a run's report goes.
func (a *app) reportTo(out io.Writer) io.Writer {
	if a.runLog == nil {
		return out
	}
	return io.MultiWriter(out, a.runLog.file)
}
