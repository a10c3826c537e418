-- What drives report of themselves, and what of a blank tape's content its owner gives up.

-- +goose Up

ALTER TABLE tapes ADD COLUMN overwrite MEDIUMTEXT NOT NULL DEFAULT ('');

CREATE TABLE health (
  id         BIGINT PRIMARY KEY AUTO_INCREMENT,
  tape       BIGINT NOT NULL,
  drive      VARCHAR(255) NOT NULL,
  job        BIGINT,
  happened   BIGINT NOT NULL,
  alerts     MEDIUMTEXT NOT NULL,
  cleaning   INTEGER NOT NULL,
  bytes_read BIGINT NOT NULL,
  bytes_written BIGINT NOT NULL,
  read_ns    BIGINT NOT NULL,
  write_ns   BIGINT NOT NULL,
  FOREIGN KEY (tape) REFERENCES tapes (id),
  FOREIGN KEY (job) REFERENCES jobs (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
