-- The ledger's schema. Apart from the spelling of automatic keys and of WITHOUT ROWID it is what MariaDB takes too.
-- Paths, names and link targets are bytes. Times are Unix nanoseconds in UTC, 0 for none, except a member's, whose years
-- may lie outside what 64 bits of nanoseconds hold.

-- +goose Up

CREATE TABLE pairs (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid        VARCHAR(36) NOT NULL UNIQUE,
  record_size INTEGER NOT NULL,
  created     BIGINT NOT NULL
);

CREATE TABLE tapes (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  barcode  VARCHAR(64) NOT NULL UNIQUE,
  uuid     VARCHAR(36) NOT NULL,
  pair     BIGINT REFERENCES pairs (id),
  side     INTEGER NOT NULL,
  state    VARCHAR(16) NOT NULL,
  why      TEXT NOT NULL,
  capacity BIGINT NOT NULL,
  serial   VARCHAR(255) NOT NULL,
  added    BIGINT NOT NULL,
  written  BIGINT NOT NULL
);

CREATE TABLE jobs (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid       VARCHAR(36) NOT NULL UNIQUE,
  machine    VARCHAR(255) NOT NULL,
  boot       VARCHAR(64) NOT NULL,
  pid        BIGINT NOT NULL,
  proc_start BIGINT NOT NULL,
  step       VARCHAR(16) NOT NULL,
  reached    VARCHAR(16) NOT NULL,
  reason     TEXT NOT NULL,
  sample     DOUBLE NOT NULL,
  began      BIGINT NOT NULL,
  ended      BIGINT NOT NULL,
  tape1      BIGINT REFERENCES tapes (id),
  tape2      BIGINT REFERENCES tapes (id)
);

CREATE TABLE sessions (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid            VARCHAR(36) NOT NULL UNIQUE,
  pair            BIGINT NOT NULL REFERENCES pairs (id),
  job             BIGINT NOT NULL UNIQUE REFERENCES jobs (id),
  number          INTEGER NOT NULL,
  record          BIGINT NOT NULL,
  closed          BIGINT NOT NULL,
  catalog_file    INTEGER NOT NULL,
  catalog_record  BIGINT NOT NULL,
  catalog_records BIGINT NOT NULL,
  catalog_md5     BLOB NOT NULL,
  UNIQUE (pair, number)
);

-- path_hash is the MD5 of host:path. It is there because a path is longer than an index may be.
CREATE TABLE items (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  host        VARCHAR(255) NOT NULL,
  path        BLOB NOT NULL,
  path_hash   BLOB NOT NULL,
  version     INTEGER NOT NULL,
  bytes       BIGINT NOT NULL,
  members     BIGINT NOT NULL,
  fingerprint BLOB NOT NULL,
  queued      BIGINT NOT NULL,
  error       TEXT NOT NULL,
  UNIQUE (path_hash, version)
);
CREATE INDEX items_path ON items (host, path);

-- What the owner of the data says a member's MD5 is; name is the member's path below the item.
CREATE TABLE expected_md5s (
  item BIGINT NOT NULL REFERENCES items (id),
  name BLOB NOT NULL,
  md5  BLOB NOT NULL
);
CREATE INDEX expected_md5s_item ON expected_md5s (item);

-- A live job holds an item or a tape. kind is 'item' or 'tape', target its id.
CREATE TABLE claims (
  kind   VARCHAR(8) NOT NULL,
  target BIGINT NOT NULL,
  job    BIGINT NOT NULL REFERENCES jobs (id),
  PRIMARY KEY (kind, target)
) WITHOUT ROWID;
CREATE INDEX claims_job ON claims (job);

-- flushed is 0 for an archive that is only planned; good counts the items that are whole.
CREATE TABLE archives (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  session   BIGINT NOT NULL REFERENCES sessions (id),
  number    INTEGER NOT NULL,
  tape_file INTEGER NOT NULL,
  record    BIGINT NOT NULL,
  records   BIGINT NOT NULL,
  items     INTEGER NOT NULL,
  bytes     BIGINT NOT NULL,
  good      INTEGER NOT NULL,
  flushed   BIGINT NOT NULL,
  UNIQUE (session, number)
);

-- CRC32C of each record of a flushed archive, little-endian.
CREATE TABLE archive_crcs (
  archive BIGINT NOT NULL PRIMARY KEY REFERENCES archives (id),
  crcs    BLOB NOT NULL
);

-- Every attempt to archive an item that came as far as a tape, or is planned to. It keeps host and path because an item
-- whose attempt failed may leave the queue, and then item is null.
CREATE TABLE archive_items (
  archive      BIGINT NOT NULL REFERENCES archives (id),
  seq          INTEGER NOT NULL,
  item         BIGINT REFERENCES items (id),
  host         VARCHAR(255) NOT NULL,
  path         BLOB NOT NULL,
  first_member BIGINT NOT NULL,
  members      BIGINT NOT NULL,
  record       BIGINT NOT NULL,
  bytes        BIGINT NOT NULL,
  bad          TEXT NOT NULL,
  PRIMARY KEY (archive, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX archive_items_item ON archive_items (item, archive);

-- Members in tape order. name is what follows the item's path; the place is null for what is not on tape.
CREATE TABLE members (
  archive     BIGINT NOT NULL REFERENCES archives (id),
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
  xattrs      BLOB,
  md5         BLOB,
  bad         TEXT NOT NULL,
  record      BIGINT,
  byte_offset BIGINT,
  header      BIGINT,
  PRIMARY KEY (archive, seq)
) WITHOUT ROWID;

-- A good synchronous flush of one tape's drive. tape_position is the logical block number that the drive reported then.
CREATE TABLE flushes (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session       BIGINT NOT NULL REFERENCES sessions (id),
  tape          BIGINT NOT NULL REFERENCES tapes (id),
  tape_position BIGINT NOT NULL,
  flushed       BIGINT NOT NULL
);

CREATE TABLE verifications (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  tape        BIGINT NOT NULL REFERENCES tapes (id),
  job         BIGINT REFERENCES jobs (id),
  began       BIGINT NOT NULL,
  ended       BIGINT NOT NULL,
  drive       VARCHAR(255) NOT NULL,
  seed        BIGINT NOT NULL,
  sample      DOUBLE NOT NULL,
  good        INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  bytes_total BIGINT NOT NULL,
  bytes_read  BIGINT NOT NULL
);
CREATE INDEX verifications_tape ON verifications (tape);

-- An item on a tape, before a good flush. verification is the last good one, null if none counts.
CREATE TABLE copies (
  item         BIGINT NOT NULL REFERENCES items (id),
  tape         BIGINT NOT NULL REFERENCES tapes (id),
  archive      BIGINT NOT NULL REFERENCES archives (id),
  flush        BIGINT NOT NULL REFERENCES flushes (id),
  verification BIGINT REFERENCES verifications (id),
  read_bytes   BIGINT NOT NULL,
  read_full    INTEGER NOT NULL,
  bad          TEXT NOT NULL,
  PRIMARY KEY (item, tape)
) WITHOUT ROWID;
CREATE INDEX copies_tape ON copies (tape);
CREATE INDEX copies_archive ON copies (archive);
