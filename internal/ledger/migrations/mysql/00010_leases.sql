-- Several machines work on one ledger: a job's process is known to live by its lease, and what is settled is not looked at
-- again to find what waits.

-- +goose Up

-- epoch counts who went on with the job: who comes back after another did cannot write any more. lease is until when the
-- process counts as alive, by the database's clock.
ALTER TABLE jobs ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN lease BIGINT NOT NULL DEFAULT 0;

-- 0 for an item that was read back from two tapes and of whose copies none was taken out of the count since.
ALTER TABLE items ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 1;
CREATE INDEX items_unsettled ON items (unsettled, id);

-- Rows that writers lock: what each stands for is in mysql.go.
CREATE TABLE gates (
  id INTEGER PRIMARY KEY
) ENGINE=InnoDB;
INSERT IGNORE INTO gates (id) VALUES (1), (2);

-- A row of every transaction, by which it is found whether one came through whose connection broke.
CREATE TABLE commits (
  token VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
  begun BIGINT NOT NULL
) ENGINE=InnoDB;
CREATE INDEX commits_begun ON commits (begun);

-- How far a tape was flushed.
CREATE INDEX flushes_tape ON flushes (tape, tape_position);
