package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const jobQuery = `
SELECT j.id, j.uuid, j.machine, j.boot, j.pid, j.proc_start, j.step, j.reached, j.reason, j.sample, j.began, j.ended,
  COALESCE(s.uuid, ''), COALESCE(p.uuid, ''), COALESCE(t1.barcode, ''), COALESCE(t2.barcode, ''),
  (SELECT COALESCE(SUM(a.items), 0) FROM archives a WHERE a.session = s.id),
  (SELECT COALESCE(SUM(a.good), 0) FROM archives a WHERE a.session = s.id),
  (SELECT COALESCE(SUM(a.bytes), 0) FROM archives a WHERE a.session = s.id)
FROM jobs j LEFT JOIN sessions s ON s.job = j.id LEFT JOIN pairs p ON p.id = s.pair
LEFT JOIN tapes t1 ON t1.id = j.tape1 LEFT JOIN tapes t2 ON t2.id = j.tape2`

func scanJob(rows *sql.Rows) (j Job, err error) {
	err = rows.Scan(&j.ID, &j.UUID, &j.Owner.Machine, &j.Owner.Boot, &j.Owner.PID, &j.Owner.Start, &j.Step, &j.Reached,
		&j.Reason, &j.Sample, instant{&j.Began}, instant{&j.Ended}, &j.Session, &j.Pair, &j.Tapes[0], &j.Tapes[1],
		&j.Items, &j.Archived, &j.Bytes)
	return j, err
}

// BeginJob records a new job in step Planning. sample is the fraction of items that its verification is to sample.
func (l *Ledger) BeginJob(ctx context.Context, owner Owner, sample float64) (j Job, err error) {
	err = l.update(ctx, "begin a job", func(tx *sql.Tx) error {
		id, err := insert(ctx, tx, `INSERT INTO jobs
			(uuid, machine, boot, pid, proc_start, step, reached, reason, sample, began, ended)
			VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, 0)`,
			uuid.NewString(), text(owner.Machine), owner.Boot, owner.PID, owner.Start, Planning, Planning, sample, time.Now().UnixNano())
		if err != nil {
			return err
		}
		j, err = job(ctx, tx, id)
		return err
	})
	return j, err
}

// SetStep records that a live job enters a step. Done and Stopped are entered by FinishJob.
func (l *Ledger) SetStep(ctx context.Context, job int64, step Step) error {
	return l.update(ctx, fmt.Sprintf("let job %d enter step %s", job, step), func(tx *sql.Tx) error {
		switch step {
		case Planning, Labelling, Writing, Closing, Verifying:
		default:
			return errors.New("no such step")
		}
		if err := checkLive(ctx, tx, job); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "UPDATE jobs SET step = ?, reached = ? WHERE id = ?", step, step, job)
		return err
	})
}

// FinishJob ends a live job: step is Done or Stopped, with the reason. Its claims are released, so what it planned and
// did not flush waits again, and the plan of it is forgotten. The same call ends the job of a process that died.
func (l *Ledger) FinishJob(ctx context.Context, job int64, step Step, reason string) error {
	return l.update(ctx, fmt.Sprintf("end job %d", job), func(tx *sql.Tx) error {
		if step != Done && step != Stopped {
			return fmt.Errorf("step %s does not end a job", step)
		}
		if err := checkLive(ctx, tx, job); err != nil {
			return err
		}
		if err := releaseJob(ctx, tx, job); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "UPDATE jobs SET step = ?, reason = ?, ended = ? WHERE id = ?",
			step, text(reason), time.Now().UnixNano(), job)
		return err
	})
}

// Jobs returns up to limit jobs, the newest first; all if limit is 0.
func (l *Ledger) Jobs(ctx context.Context, limit int) ([]Job, error) {
	query, args := jobQuery+" ORDER BY j.id DESC", []any(nil)
	if limit > 0 {
		query, args = query+" LIMIT ?", []any{limit}
	}
	jobs, err := collect(ctx, l.db, scanJob, query, args...)
	return jobs, l.failed("list the jobs", err)
}

// LiveJobs returns the jobs that are neither Done nor Stopped, the oldest first. Whether their processes live the
// ledger does not know.
func (l *Ledger) LiveJobs(ctx context.Context) ([]Job, error) {
	jobs, err := collect(ctx, l.db, scanJob, jobQuery+" WHERE j.ended = 0 ORDER BY j.id")
	return jobs, l.failed("list the live jobs", err)
}

// Job returns a job, or an error that wraps ErrNotFound.
func (l *Ledger) Job(ctx context.Context, id int64) (Job, error) {
	j, err := job(ctx, l.db, id)
	return j, l.failed(fmt.Sprintf("look job %d up", id), err)
}

func job(ctx context.Context, q querier, id int64) (Job, error) {
	jobs, err := collect(ctx, q, scanJob, jobQuery+" WHERE j.id = ?", id)
	if err != nil {
		return Job{}, err
	}
	if len(jobs) == 0 {
		return Job{}, fmt.Errorf("job %d is %w; `twintape jobs` lists them", id, ErrNotFound)
	}
	return jobs[0], nil
}

// checkLive refuses jobs that have ended: another process may have taken what they held.
func checkLive(ctx context.Context, q querier, id int64) error {
	j, err := job(ctx, q, id)
	if err != nil {
		return err
	}
	if j.Step == Done || j.Step == Stopped {
		return fmt.Errorf("job %d %w (%s)", id, ErrEnded, j.Step)
	}
	return nil
}
