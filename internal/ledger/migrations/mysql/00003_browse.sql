-- What is on a tape can be looked at as a tree, with its label, catalogs and checksums as files.

-- +goose Up

ALTER TABLE members ADD COLUMN parent BIGINT;
CREATE INDEX members_parent ON members (archive, parent, name (255));
ALTER TABLE archive_items ADD COLUMN listed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE archives ADD COLUMN sums_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN catalog_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tapes ADD COLUMN twin VARCHAR(64) NOT NULL DEFAULT '';
