-- Items that are rows in paper-dump's table File.

-- +goose Up

-- By what a row tells which ledger has taken it. It has one row.
CREATE TABLE identity (
  id VARCHAR(8) PRIMARY KEY
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO identity (id) SELECT LEFT(MD5(UUID()), 8);

-- The rows that were taken, by how File spells them. The item is null if it was taken out of the queue: the row is to be given
-- back, and not to be taken again by itself.
CREATE TABLE bridged (
  source_hash VARBINARY(16) PRIMARY KEY,
  source      BLOB NOT NULL,
  path_hash   VARBINARY(16) NOT NULL,
  item        BIGINT,
  FOREIGN KEY (item) REFERENCES items (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE INDEX bridged_path ON bridged (path_hash);
CREATE INDEX bridged_item ON bridged (item);
