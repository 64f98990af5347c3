CREATE TABLE tertium_never (
  id INTEGER PRIMARY KEY CHECK (false)
) STRICT;
CREATE TABLE tertium_inbox (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  unanswered INTEGER REFERENCES tertium_never (id) DEFERRABLE INITIALLY DEFERRED,
  fingerprint BLOB,
  status INTEGER,
  headers TEXT,
  body BLOB,
  created_at_ms INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000),
  PRIMARY KEY (scope, key),
  CHECK (CASE state
    WHEN 'entered' THEN unanswered IS NOT NULL AND fingerprint IS NOT NULL AND status IS NULL
    WHEN 'answered' THEN unanswered IS NULL AND fingerprint IS NOT NULL AND status IS NOT NULL
      AND headers IS NOT NULL AND body IS NOT NULL
    WHEN 'barred' THEN unanswered IS NULL AND fingerprint IS NULL AND status IS NULL
    ELSE false END)
) STRICT;
CREATE INDEX tertium_inbox_by_age ON tertium_inbox (created_at_ms);
CREATE TABLE tertium_offsets (
  subscription TEXT NOT NULL,
  partition_key TEXT NOT NULL,
  last_offset INTEGER NOT NULL,
  moved_at_ms INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000),
  PRIMARY KEY (subscription, partition_key)
) STRICT;
CREATE INDEX tertium_offsets_by_age ON tertium_offsets (moved_at_ms);
CREATE TABLE tertium_fences (
  resource TEXT NOT NULL PRIMARY KEY,
  token INTEGER NOT NULL
) STRICT;
