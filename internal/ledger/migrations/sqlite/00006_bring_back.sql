-- Tapes that were used before, and what an owner did against the ledger's advice.

-- +goose Up

-- The UUID of the label that may be overwritten, because its owner gave up what the tape held.
ALTER TABLE tapes ADD COLUMN recycled VARCHAR(36) NOT NULL DEFAULT '';

-- What was done to a tape by its owner although the ledger advised against it.
CREATE TABLE overrides (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  tape     BIGINT NOT NULL REFERENCES tapes (id),
  happened BIGINT NOT NULL,
  who      VARCHAR(255) NOT NULL,
  what     TEXT NOT NULL
);
CREATE INDEX overrides_tape ON overrides (tape);
