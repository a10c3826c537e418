-- A folder that thousands of items lie below is listed without reading them.

-- +goose Up

-- The folders that items lie in, with all above them. path_hash is the MD5 of host:path; parent is 0 for /.
CREATE TABLE folders (
  id        BIGINT PRIMARY KEY AUTO_INCREMENT,
  host      VARCHAR(255) NOT NULL,
  path      BLOB NOT NULL,
  path_hash VARBINARY(16) NOT NULL UNIQUE,
  parent    BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE INDEX folders_parent ON folders (parent);

-- The folder that the item lies in; / lies in itself. 0 until a ledger from before is opened, which fills it.
ALTER TABLE items ADD COLUMN folder BIGINT NOT NULL DEFAULT 0;
CREATE INDEX items_folder ON items (folder);
