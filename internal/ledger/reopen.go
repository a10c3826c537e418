package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Reopen lets a process go on with a job that has a session: one that was stopped, or whose process, was, died. It claims
// the job's tapes again, but not one that it lost, and forgets what was planned and not flushed. The error wraps ErrClaimed if
// another process was faster, another job holds one of the tapes, or the process, on another machine, may live still. From now on
// this Ledger runs the job, as after BeginJob, and who ran it before is fenced.
func (l *Ledger) Reopen(ctx context.Context, was Job, now Owner) (j Job, err error) {
	id := was.ID
	err = l.update(ctx, fmt.Sprintf("go on with job %d", id), func(tx *sql.Tx) error {
		j, err = l.job(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case j.Step.Ends() && !Planning.MayFollow(j.Step):
			return fmt.Errorf("job %d %w (%s)", id, ErrEnded, j.Step)
		case j.Session == "":
			return errors.New("it wrote nothing: there is nothing to go on with")
		}
		if err := dead(j, was.Owner, was.Epoch, now); err != nil {
			return err
		}
		if err := releaseJob(ctx, tx, id); err != nil {
			return err
		}
		for side, barcode := range j.Tapes {
			if j.Lost == side+1 {
				continue
			}
			t, err := tape(ctx, tx, barcode)
			if err != nil {
				return err
			}
			if t.Job != 0 {
				return fmt.Errorf("tape %s is %w (job %d)", barcode, ErrClaimed, t.Job)
			}
			if _, err := exec(ctx, tx, "INSERT INTO claims (kind, target, job) VALUES ('tape', ?, ?)", t.ID, id); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, tx, `UPDATE jobs SET epoch = epoch + 1, lease = `+l.dialect.now()+` + ?, machine = ?, boot = ?, pid = ?, proc_start = ?, step = ?, reached = ?, reason = '', ended = 0
			WHERE id = ?`, l.held.length.Nanoseconds(), text(now.Machine), now.Boot, now.PID, now.Start, Planning, Planning, id); err != nil {
			return err
		}
		j, err = l.job(ctx, tx, id)
		return err
	})
	if err == nil {
		l.held.take(j.ID, j.Epoch)
	}
	return j, err
}

// releaseJob forgets what a job planned and did not flush, and releases its claims.
func releaseJob(ctx context.Context, tx *sql.Tx, id int64) error {
	sessions, err := collect(ctx, tx, scanID, "SELECT id FROM sessions WHERE job = ?", id)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if err := dropUnflushed(ctx, tx, session); err != nil {
			return err
		}
	}
	_, err = exec(ctx, tx, "DELETE FROM claims WHERE job = ?", id)
	return err
}
