package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

func (l *Ledger) jobQuery() string {
	return `
SELECT j.id, j.uuid, j.machine, j.boot, j.pid, j.proc_start, j.step, j.reached, j.reason, j.sample, j.began, j.ended,
  COALESCE(s.uuid, ''), COALESCE(p.uuid, ''), COALESCE(t1.barcode, ''), COALESCE(t2.barcode, ''), j.lost, j.epoch, j.lease, ` + l.dialect.leaseOver() + `,
  (SELECT COALESCE(SUM(a.items), 0) FROM archives a WHERE a.session = s.id),
  (SELECT COALESCE(SUM(a.good), 0) FROM archives a WHERE a.session = s.id),
  (SELECT COALESCE(SUM(a.bytes), 0) FROM archives a WHERE a.session = s.id)
FROM jobs j LEFT JOIN sessions s ON s.job = j.id LEFT JOIN pairs p ON p.id = s.pair
LEFT JOIN tapes t1 ON t1.id = j.tape1 LEFT JOIN tapes t2 ON t2.id = j.tape2`
}

func scanJob(rows *sql.Rows) (j Job, err error) {
	err = rows.Scan(&j.ID, &j.UUID, &j.Owner.Machine, &j.Owner.Boot, &j.Owner.PID, &j.Owner.Start, &j.Step, &j.Reached,
		&j.Reason, &j.Sample, instant{&j.Began}, instant{&j.Ended}, &j.Session, &j.Pair, &j.Tapes[0], &j.Tapes[1],
		&j.Lost, &j.Epoch, instant{&j.Lease}, &j.LeaseOver, &j.Items, &j.Archived, &j.Bytes)
	return j, err
}

// BeginJob records a new job in step Planning, which this Ledger runs from now on: only through it, until it ends there, may
// anything be written for the job. sample is the fraction of items that its verification is to sample.
func (l *Ledger) BeginJob(ctx context.Context, owner Owner, sample float64) (j Job, err error) {
	err = l.update(ctx, "begin a job", func(tx *sql.Tx) error {
		id, err := insert(ctx, tx, `INSERT INTO jobs
			(epoch, lease, uuid, machine, boot, pid, proc_start, step, reached, reason, sample, began, ended)
			VALUES (1, `+l.dialect.now()+` + ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, 0)`,
			l.held.length.Nanoseconds(), uuid.NewString(), text(owner.Machine), owner.Boot, owner.PID, owner.Start, Planning, Planning, sample, time.Now().UnixNano())
		if err != nil {
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

// SetStep records that a live job enters a step. Those that end a job are entered by FinishJob.
func (l *Ledger) SetStep(ctx context.Context, job int64, step Step) error {
	return l.updateIn(ctx, beside, fmt.Sprintf("let job %d enter step %s", job, step), func(tx *sql.Tx) error {
		if step.Ends() {
			return errors.New("it ends a job")
		}
		if err := l.mayEnter(ctx, tx, job, step); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "UPDATE jobs SET step = ?, reached = ? WHERE id = ?", step, step, job)
		return err
	})
}

// FinishJob ends a live job: step is Done, Stopped, Aborted or Mismatch, with the reason. Its claims are released, so what
// it planned and did not flush waits again, and the plan of it is forgotten. A session of which nothing was flushed goes with
// an aborted job; its pair stays, to be begun anew. The error wraps ErrFenced if the job was taken over; this Ledger has done with
// it then, too.
func (l *Ledger) FinishJob(ctx context.Context, job int64, step Step, reason string) error {
	err := l.update(ctx, fmt.Sprintf("end job %d", job), func(tx *sql.Tx) error {
		if !step.Ends() {
			return fmt.Errorf("step %s does not end a job", step)
		}
		if err := l.mayEnter(ctx, tx, job, step); err != nil {
			return err
		}
		return endJob(ctx, tx, job, step, reason)
	})
	if err == nil || errors.Is(err, ErrFenced) {
		l.held.drop(job)
	}
	return err
}

func endJob(ctx context.Context, tx *sql.Tx, job int64, step Step, reason string) error {
	if err := releaseJob(ctx, tx, job); err != nil {
		return err
	}
	if step == Aborted {
		if err := dropEmptySession(ctx, tx, job); err != nil {
			return err
		}
	}
	_, err := exec(ctx, tx, "UPDATE jobs SET step = ?, reason = ?, ended = ? WHERE id = ?",
		step, text(reason), time.Now().UnixNano(), job)
	return err
}

// mayEnter refuses a step that does not follow the one a live job is in.
func (l *Ledger) mayEnter(ctx context.Context, tx *sql.Tx, job int64, step Step) error {
	if err := l.checkLive(ctx, tx, job); err != nil {
		return err
	}
	var now Step
	if err := tx.QueryRowContext(ctx, "SELECT step FROM jobs WHERE id = ?", job).Scan(&now); err != nil {
		return err
	}
	if !step.MayFollow(now) {
		return fmt.Errorf("it does not follow %s", now)
	}
	return nil
}

// dropEmptySession forgets a job's session of which nothing was flushed.
func dropEmptySession(ctx context.Context, tx *sql.Tx, job int64) error {
	const empty = "job = ? AND NOT EXISTS (SELECT 1 FROM archives a WHERE a.session = sessions.id)"
	if _, err := exec(ctx, tx, "DELETE FROM flushes WHERE session IN (SELECT id FROM sessions WHERE "+empty+")", job); err != nil {
		return err
	}
	_, err := exec(ctx, tx, "DELETE FROM sessions WHERE "+empty, job)
	return err
}

// LoseSide records that a live job goes on without the tape of one side, 1 or 2, which is suspect from now on.
func (l *Ledger) LoseSide(ctx context.Context, job int64, side int, why string) error {
	return l.update(ctx, fmt.Sprintf("let job %d go on without its tape %d", job, side), func(tx *sql.Tx) error {
		if side != 1 && side != 2 {
			return errors.New("a pair has the sides 1 and 2")
		}
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		n, err := exec(ctx, tx, "UPDATE jobs SET lost = ? WHERE id = ? AND lost = 0 AND tape1 IS NOT NULL", side, job)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it has lost a tape already, or has none")
		}
		_, err = exec(ctx, tx, fmt.Sprintf("UPDATE tapes SET state = ?, why = ? WHERE id = (SELECT tape%d FROM jobs WHERE id = ?)", side),
			TapeSuspect, text(why), job)
		return err
	})
}

// Jobs returns up to limit jobs, the newest first; all if limit is 0.
func (l *Ledger) Jobs(ctx context.Context, limit int) ([]Job, error) {
	query, args := l.jobQuery()+" ORDER BY j.id DESC", []any(nil)
	if limit > 0 {
		query, args = query+" LIMIT ?", []any{limit}
	}
	jobs, err := collect(ctx, l.read, scanJob, query, args...)
	return jobs, l.failed("list the jobs", err)
}

// LiveJobs returns the jobs that have not ended, the oldest first. Whether their processes live the
// ledger does not know.
func (l *Ledger) LiveJobs(ctx context.Context) ([]Job, error) {
	jobs, err := collect(ctx, l.read, scanJob, l.jobQuery()+" WHERE j.ended = 0 ORDER BY j.id")
	return jobs, l.failed("list the live jobs", err)
}

// Job returns a job, or an error that wraps ErrNotFound.
func (l *Ledger) Job(ctx context.Context, id int64) (Job, error) {
	j, err := l.job(ctx, l.read, id)
	return j, l.failed(fmt.Sprintf("look job %d up", id), err)
}

func (l *Ledger) job(ctx context.Context, q querier, id int64) (Job, error) {
	jobs, err := collect(ctx, q, scanJob, l.jobQuery()+" WHERE j.id = ?", id)
	if err != nil {
		return Job{}, err
	}
	if len(jobs) == 0 {
		return Job{}, fmt.Errorf("job %d is %w; `twintape jobs` lists them", id, ErrNotFound)
	}
	return jobs[0], nil
}

// checkLive refuses jobs that have ended, and those that another process runs.
func (l *Ledger) checkLive(ctx context.Context, q querier, id int64) error {
	j, err := l.job(ctx, q, id)
	if err != nil {
		return err
	}
	if j.Step.Ends() {
		return fmt.Errorf("job %d %w (%s)", id, ErrEnded, j.Step)
	}
	if !l.held.has(id) {
		return fmt.Errorf("job %d is %w: process %d on %s runs it", id, ErrClaimed, j.Owner.PID, j.Owner.Machine)
	}
	return nil
}
