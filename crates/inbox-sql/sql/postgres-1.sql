CREATE TABLE tertium_never (
  id smallint PRIMARY KEY CHECK (false)
);
CREATE TABLE tertium_inbox (
  scope text NOT NULL,
  key text NOT NULL,
  state text NOT NULL,
  unanswered smallint REFERENCES tertium_never (id) DEFERRABLE INITIALLY DEFERRED,
  fingerprint bytea,
  status smallint,
  headers text,
  body bytea,
  created_at_ms bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint,
  PRIMARY KEY (scope, key),
  CHECK (CASE state
    WHEN 'entered' THEN unanswered IS NOT NULL AND fingerprint IS NOT NULL AND status IS NULL
    WHEN 'answered' THEN unanswered IS NULL AND fingerprint IS NOT NULL AND status IS NOT NULL
      AND headers IS NOT NULL AND body IS NOT NULL
    WHEN 'barred' THEN unanswered IS NULL AND fingerprint IS NULL AND status IS NULL
    ELSE false END)
);
CREATE INDEX tertium_inbox_by_age ON tertium_inbox (created_at_ms);
CREATE TABLE tertium_offsets (
  subscription text NOT NULL,
  partition_key text NOT NULL,
  last_offset bigint NOT NULL,
  moved_at_ms bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint,
  PRIMARY KEY (subscription, partition_key)
);
CREATE INDEX tertium_offsets_by_age ON tertium_offsets (moved_at_ms);
CREATE TABLE tertium_fences (
  resource text NOT NULL PRIMARY KEY,
  token bigint NOT NULL
);
