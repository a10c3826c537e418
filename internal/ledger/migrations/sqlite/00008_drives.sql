-- What drives report of themselves, and what of a blank tape's content its owner gives up.

-- +goose Up

-- What a tape without copies holds, in words, that may be overwritten; empty for none.
ALTER TABLE tapes ADD COLUMN overwrite TEXT NOT NULL DEFAULT '';

-- What a drive reported after it had used a tape. Alerts are TapeAlert numbers, divided by commas.
CREATE TABLE health (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  tape       BIGINT NOT NULL REFERENCES tapes (id),
  drive      VARCHAR(255) NOT NULL,
  job        BIGINT REFERENCES jobs (id),
  happened   BIGINT NOT NULL,
  alerts     TEXT NOT NULL,
  cleaning   INTEGER NOT NULL,
  bytes_read BIGINT NOT NULL,
  bytes_written BIGINT NOT NULL,
  read_ns    BIGINT NOT NULL,
  write_ns   BIGINT NOT NULL
);
CREATE INDEX health_tape ON health (tape);
