-- What is on a tape can be looked at as a tree, with its label, catalogs and checksums as files.

-- +goose Up

-- The seq of the directory that holds the member; null for the item itself.
ALTER TABLE members ADD COLUMN parent BIGINT;
CREATE INDEX members_parent ON members (archive, parent, name);

-- The item's id as the catalog on tape has it, also when the item is no longer in the ledger.
ALTER TABLE archive_items ADD COLUMN listed BIGINT NOT NULL DEFAULT 0;

-- Lengths of the archive's MD5SUMS and of the session's catalog.
ALTER TABLE archives ADD COLUMN sums_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN catalog_bytes BIGINT NOT NULL DEFAULT 0;

-- The barcode of the twin that the volume label names.
ALTER TABLE tapes ADD COLUMN twin VARCHAR(64) NOT NULL DEFAULT '';
