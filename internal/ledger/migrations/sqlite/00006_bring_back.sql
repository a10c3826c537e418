-- Tapes that were used before, and what an owner did against the ledger's advice.

-- +goose Up

-- The UUID of the label that may be overwritten, because its owner gave up what the tape held.
ALTER TABLE tapes ADD COLUMN recycled VARCHAR(36) NOT NULL DEFAULT '';

-- Records that only a second attempt read.
ALTER TABLE verifications ADD COLUMN retried BIGINT NOT NULL DEFAULT 0;

-- A file is looked for by its checksum.
CREATE INDEX members_md5 ON members (md5);

-- What was done to a tape by its owner although the ledger advised against it.
CREATE TABLE overrides (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  tape     BIGINT NOT NULL REFERENCES tapes (id),
  happened BIGINT NOT NULL,
  who      VARCHAR(255) NOT NULL,
  what     TEXT NOT NULL
);
CREATE INDEX overrides_tape ON overrides (tape);
