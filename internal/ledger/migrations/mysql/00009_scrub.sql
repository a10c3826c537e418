-- Tapes that wear out, and files that are looked for by their checksum.

-- +goose Up

-- Records that only a second attempt read.
ALTER TABLE verifications ADD COLUMN retried BIGINT NOT NULL DEFAULT 0;

CREATE INDEX members_md5 ON members (md5(16));
