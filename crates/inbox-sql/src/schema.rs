//! The tables and the statements over them, the same for both databases but for types and the clock.
//!
//! The parameters of each statement appear in the order of their numbers, so that SQLite, which numbers `$1` by its first
//! appearance, counts as PostgreSQL does. The texts are also those of `docs/inbox-sql.md`; a test compares them.

/// The tables, by version: what each adds to the one before it.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &[&str] = &[include_str!("../sql/postgres-1.sql")];

/// The same for SQLite.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: &[&str] = &[include_str!("../sql/sqlite-1.sql")];

/// Which version is there.
pub(crate) const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS tertium_schema (version bigint NOT NULL PRIMARY KEY)";
pub(crate) const VERSION_READ: &str = "SELECT coalesce(max(version), 0) FROM tertium_schema";
pub(crate) const VERSION_ADD: &str = "INSERT INTO tertium_schema (version) VALUES ($1)";

/// Takes a key's place, or waits for whoever is taking it.
pub(crate) const ENTER: &str = "\
INSERT INTO tertium_inbox (scope, key, fingerprint, state, unanswered) VALUES ($1, $2, $3, 'entered', 1)
ON CONFLICT (scope, key) DO NOTHING";

/// Reads who has it.
pub(crate) const READ: &str =
    "SELECT state, fingerprint, status, headers, body FROM tertium_inbox WHERE scope = $1 AND key = $2";

/// Answers it.
pub(crate) const FINISH: &str = "\
UPDATE tertium_inbox SET state = 'answered', unanswered = NULL, status = $1, headers = $2, body = $3
WHERE scope = $4 AND key = $5 AND state = 'entered'";

/// Gives the place back.
pub(crate) const LEAVE: &str = "DELETE FROM tertium_inbox WHERE scope = $1 AND key = $2 AND state = 'entered'";

/// Takes a key's place for good, in the name of one who asked.
pub(crate) const BAR: &str = "\
INSERT INTO tertium_inbox (scope, key, state) VALUES ($1, $2, 'barred')
ON CONFLICT (scope, key) DO NOTHING";

/// Raises the resource's token, or changes nothing if a higher one was seen.
pub(crate) const FENCE: &str = "\
INSERT INTO tertium_fences (resource, token) VALUES ($1, $2)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token WHERE tertium_fences.token <= excluded.token";

/// The highest token seen.
pub(crate) const FENCE_READ: &str = "SELECT token FROM tertium_fences WHERE resource = $1";

/// Moves a partition forward, or changes nothing if it has been there.
pub(crate) const EVENT: &str = "\
INSERT INTO tertium_offsets (subscription, partition_key, last_offset) VALUES ($1, $2, $3)
ON CONFLICT (subscription, partition_key)
DO UPDATE SET last_offset = excluded.last_offset, moved_at_ms = excluded.moved_at_ms
WHERE tertium_offsets.last_offset < excluded.last_offset";

/// Removes what is older than so many milliseconds: so many rows of it, and none that another collector is removing.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_COLLECT: [&str; 2] = [
    "\
DELETE FROM tertium_inbox WHERE (scope, key) IN (
  SELECT scope, key FROM tertium_inbox WHERE created_at_ms < (extract(epoch FROM now()) * 1000)::bigint - $1
  ORDER BY created_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "\
DELETE FROM tertium_offsets WHERE (subscription, partition_key) IN (
  SELECT subscription, partition_key FROM tertium_offsets
  WHERE moved_at_ms < (extract(epoch FROM now()) * 1000)::bigint - $1
  ORDER BY moved_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)",
];

/// The same for SQLite, where nobody else is writing.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE_COLLECT: [&str; 2] = [
    "\
DELETE FROM tertium_inbox WHERE (scope, key) IN (
  SELECT scope, key FROM tertium_inbox WHERE created_at_ms < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - $1
  ORDER BY created_at_ms LIMIT $2)",
    "\
DELETE FROM tertium_offsets WHERE (subscription, partition_key) IN (
  SELECT subscription, partition_key FROM tertium_offsets
  WHERE moved_at_ms < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - $1
  ORDER BY moved_at_ms LIMIT $2)",
];

#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_these_texts() {
        let document = include_str!("../../../docs/inbox-sql.md");
        let shared = [ENTER, READ, FINISH, LEAVE, BAR, FENCE, FENCE_READ, EVENT];
        let own = [POSTGRES, SQLITE, &POSTGRES_COLLECT, &SQLITE_COLLECT].concat();
        for text in shared.into_iter().chain(own) {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            assert!(document.contains(&format!("\n{text}{end}```\n")), "{text}");
        }
    }

    #[test]
    fn parameters_come_in_the_order_of_their_numbers() {
        let own = [&POSTGRES_COLLECT[..], &SQLITE_COLLECT].concat();
        for text in [ENTER, READ, FINISH, LEAVE, BAR, FENCE, FENCE_READ, EVENT, VERSION_ADD].into_iter().chain(own) {
            let numbers: Vec<_> = text.split('$').skip(1).map(|rest| rest.as_bytes()[0] - b'0').collect();
            assert_eq!(numbers, (1..=numbers.len() as u8).collect::<Vec<_>>(), "{text}");
        }
    }
}
