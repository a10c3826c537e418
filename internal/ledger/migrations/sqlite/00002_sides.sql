-- What each tape holds follows from its own flushes; drives and tapes fail and are forgiven.

-- +goose Up

-- 1 if the pair took what it could.
ALTER TABLE pairs ADD COLUMN full INTEGER NOT NULL DEFAULT 0;

-- The side that the job goes on without; 0 for none.
ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- 1 if this very copy was found bad, not only its tape.
ALTER TABLE copies ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;

-- A failure counts against the tape and the drive, by its serial number, until it is forgiven.
CREATE TABLE faults (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  job           BIGINT NOT NULL REFERENCES jobs (id),
  tape          BIGINT NOT NULL REFERENCES tapes (id),
  drive         VARCHAR(255) NOT NULL,
  happened      BIGINT NOT NULL,
  what          TEXT NOT NULL,
  tape_forgiven INTEGER NOT NULL,
  drive_forgiven INTEGER NOT NULL
);
CREATE INDEX faults_tape ON faults (tape);
CREATE INDEX faults_drive ON faults (drive);
CREATE INDEX flushes_session ON flushes (session, tape);
