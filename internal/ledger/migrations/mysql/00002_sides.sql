-- What each tape holds follows from its own flushes; drives and tapes fail and are forgiven.

-- +goose Up

ALTER TABLE pairs ADD COLUMN full INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE copies ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;

CREATE TABLE faults (
  id            BIGINT PRIMARY KEY AUTO_INCREMENT,
  job           BIGINT NOT NULL,
  tape          BIGINT NOT NULL,
  drive         VARCHAR(255) NOT NULL,
  happened      BIGINT NOT NULL,
  what          MEDIUMTEXT NOT NULL,
  tape_forgiven INTEGER NOT NULL,
  drive_forgiven INTEGER NOT NULL,
  FOREIGN KEY (job) REFERENCES jobs (id),
  FOREIGN KEY (tape) REFERENCES tapes (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE INDEX faults_drive ON faults (drive);
CREATE INDEX flushes_session ON flushes (session, tape);
