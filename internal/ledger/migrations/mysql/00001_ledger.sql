-- The same schema as sqlite/00001_ledger.sql. What differs: keys of bytes have a length, names that are compared are compared
-- byte by byte, and what a reason or a list of checksums takes is not cut at 64 KiB.

-- +goose Up

CREATE TABLE pairs (
  id          BIGINT PRIMARY KEY AUTO_INCREMENT,
  uuid        VARCHAR(36) NOT NULL UNIQUE,
  record_size INTEGER NOT NULL,
  created     BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE tapes (
  id       BIGINT PRIMARY KEY AUTO_INCREMENT,
  barcode  VARCHAR(64) NOT NULL UNIQUE,
  uuid     VARCHAR(36) NOT NULL,
  pair     BIGINT,
  side     INTEGER NOT NULL,
  state    VARCHAR(16) NOT NULL,
  why      MEDIUMTEXT NOT NULL,
  capacity BIGINT NOT NULL,
  serial   VARCHAR(255) NOT NULL,
  added    BIGINT NOT NULL,
  written  BIGINT NOT NULL,
  FOREIGN KEY (pair) REFERENCES pairs (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE jobs (
  id         BIGINT PRIMARY KEY AUTO_INCREMENT,
  uuid       VARCHAR(36) NOT NULL UNIQUE,
  machine    VARCHAR(255) NOT NULL,
  boot       VARCHAR(64) NOT NULL,
  pid        BIGINT NOT NULL,
  proc_start BIGINT NOT NULL,
  step       VARCHAR(16) NOT NULL,
  reached    VARCHAR(16) NOT NULL,
  reason     MEDIUMTEXT NOT NULL,
  sample     DOUBLE NOT NULL,
  began      BIGINT NOT NULL,
  ended      BIGINT NOT NULL,
  tape1      BIGINT,
  tape2      BIGINT,
  FOREIGN KEY (tape1) REFERENCES tapes (id),
  FOREIGN KEY (tape2) REFERENCES tapes (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sessions (
  id              BIGINT PRIMARY KEY AUTO_INCREMENT,
  uuid            VARCHAR(36) NOT NULL UNIQUE,
  pair            BIGINT NOT NULL,
  job             BIGINT NOT NULL UNIQUE,
  number          INTEGER NOT NULL,
  record          BIGINT NOT NULL,
  closed          BIGINT NOT NULL,
  catalog_file    INTEGER NOT NULL,
  catalog_record  BIGINT NOT NULL,
  catalog_records BIGINT NOT NULL,
  catalog_md5     VARBINARY(16) NOT NULL,
  UNIQUE (pair, number),
  FOREIGN KEY (pair) REFERENCES pairs (id),
  FOREIGN KEY (job) REFERENCES jobs (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE items (
  id          BIGINT PRIMARY KEY AUTO_INCREMENT,
  host        VARCHAR(255) NOT NULL,
  path        BLOB NOT NULL,
  path_hash   VARBINARY(16) NOT NULL,
  version     INTEGER NOT NULL,
  bytes       BIGINT NOT NULL,
  members     BIGINT NOT NULL,
  fingerprint VARBINARY(16) NOT NULL,
  queued      BIGINT NOT NULL,
  error       MEDIUMTEXT NOT NULL,
  UNIQUE (path_hash, version)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE INDEX items_path ON items (host, path (1024));

CREATE TABLE expected_md5s (
  item BIGINT NOT NULL,
  name BLOB NOT NULL,
  md5  VARBINARY(16) NOT NULL,
  FOREIGN KEY (item) REFERENCES items (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE claims (
  kind   VARCHAR(8) NOT NULL,
  target BIGINT NOT NULL,
  job    BIGINT NOT NULL,
  PRIMARY KEY (kind, target),
  FOREIGN KEY (job) REFERENCES jobs (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE archives (
  id        BIGINT PRIMARY KEY AUTO_INCREMENT,
  session   BIGINT NOT NULL,
  number    INTEGER NOT NULL,
  tape_file INTEGER NOT NULL,
  record    BIGINT NOT NULL,
  records   BIGINT NOT NULL,
  items     INTEGER NOT NULL,
  bytes     BIGINT NOT NULL,
  good      INTEGER NOT NULL,
  flushed   BIGINT NOT NULL,
  UNIQUE (session, number),
  FOREIGN KEY (session) REFERENCES sessions (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE archive_crcs (
  archive BIGINT NOT NULL PRIMARY KEY,
  crcs    LONGBLOB NOT NULL,
  FOREIGN KEY (archive) REFERENCES archives (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE archive_items (
  archive      BIGINT NOT NULL,
  seq          INTEGER NOT NULL,
  item         BIGINT,
  host         VARCHAR(255) NOT NULL,
  path         BLOB NOT NULL,
  first_member BIGINT NOT NULL,
  members      BIGINT NOT NULL,
  record       BIGINT NOT NULL,
  bytes        BIGINT NOT NULL,
  bad          MEDIUMTEXT NOT NULL,
  PRIMARY KEY (archive, seq),
  UNIQUE archive_items_item (item, archive),
  FOREIGN KEY (archive) REFERENCES archives (id),
  FOREIGN KEY (item) REFERENCES items (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE members (
  archive     BIGINT NOT NULL,
  seq         BIGINT NOT NULL,
  name        BLOB NOT NULL,
  type        VARCHAR(16) NOT NULL,
  size        BIGINT NOT NULL,
  mode        BIGINT NOT NULL,
  mtime_s     BIGINT NOT NULL,
  mtime_ns    INTEGER NOT NULL,
  ctime_s     BIGINT NOT NULL,
  ctime_ns    INTEGER NOT NULL,
  uid         BIGINT NOT NULL,
  gid         BIGINT NOT NULL,
  user_name   BLOB NOT NULL,
  group_name  BLOB NOT NULL,
  link        BLOB NOT NULL,
  xattrs      LONGBLOB,
  md5         VARBINARY(16),
  bad         MEDIUMTEXT NOT NULL,
  record      BIGINT,
  byte_offset BIGINT,
  header      BIGINT,
  PRIMARY KEY (archive, seq),
  FOREIGN KEY (archive) REFERENCES archives (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE flushes (
  id            BIGINT PRIMARY KEY AUTO_INCREMENT,
  session       BIGINT NOT NULL,
  tape          BIGINT NOT NULL,
  tape_position BIGINT NOT NULL,
  flushed       BIGINT NOT NULL,
  FOREIGN KEY (session) REFERENCES sessions (id),
  FOREIGN KEY (tape) REFERENCES tapes (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE verifications (
  id          BIGINT PRIMARY KEY AUTO_INCREMENT,
  tape        BIGINT NOT NULL,
  job         BIGINT,
  began       BIGINT NOT NULL,
  ended       BIGINT NOT NULL,
  drive       VARCHAR(255) NOT NULL,
  seed        BIGINT NOT NULL,
  sample      DOUBLE NOT NULL,
  good        INTEGER NOT NULL,
  reason      MEDIUMTEXT NOT NULL,
  bytes_total BIGINT NOT NULL,
  bytes_read  BIGINT NOT NULL,
  FOREIGN KEY (tape) REFERENCES tapes (id),
  FOREIGN KEY (job) REFERENCES jobs (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE copies (
  item         BIGINT NOT NULL,
  tape         BIGINT NOT NULL,
  archive      BIGINT NOT NULL,
  flush        BIGINT NOT NULL,
  verification BIGINT,
  read_bytes   BIGINT NOT NULL,
  read_full    INTEGER NOT NULL,
  bad          MEDIUMTEXT NOT NULL,
  PRIMARY KEY (item, tape),
  FOREIGN KEY (item) REFERENCES items (id),
  FOREIGN KEY (tape) REFERENCES tapes (id),
  FOREIGN KEY (archive) REFERENCES archives (id),
  FOREIGN KEY (flush) REFERENCES flushes (id),
  FOREIGN KEY (verification) REFERENCES verifications (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
