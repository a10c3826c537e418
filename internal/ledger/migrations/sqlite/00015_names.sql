-- A name without a path is found without reading all members.

-- +goose Up

-- The names that the paths of an archive's members consist of. name is the first 8 bytes of its MD5; the items that have it in their
-- path, or that of a member, lie from first_item to last_item in the archive.
CREATE TABLE names (
  name       BIGINT NOT NULL,
  archive    BIGINT NOT NULL,
  first_item BIGINT NOT NULL,
  last_item  BIGINT NOT NULL,
  PRIMARY KEY (name, archive, first_item)
) WITHOUT ROWID;

-- 1 for an archive that has its names. 0 until a ledger from before is opened, which fills them in.
ALTER TABLE archives ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
CREATE INDEX archives_named ON archives (named);
