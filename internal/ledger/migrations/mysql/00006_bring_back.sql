-- Tapes that were used before, and what an owner did against the ledger's advice.

-- +goose Up

ALTER TABLE tapes ADD COLUMN recycled VARCHAR(36) NOT NULL DEFAULT '';

CREATE TABLE overrides (
  id       BIGINT PRIMARY KEY AUTO_INCREMENT,
  tape     BIGINT NOT NULL,
  happened BIGINT NOT NULL,
  who      VARCHAR(255) NOT NULL,
  what     MEDIUMTEXT NOT NULL,
  FOREIGN KEY (tape) REFERENCES tapes (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
