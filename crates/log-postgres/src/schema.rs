//! The tables, and every statement that is sent to them.
//!
//! One PostgreSQL schema holds one log: the table `log` says whose, `entries` has a row for each entry. Row 0 stands for the
//! beginning, so that the first entry has a predecessor like each other one, and a seal is a row too, so that it closes the log by
//! the same comparison that orders the entries.

use tokio_postgres::types::Type;

/// The version of the tables. Another one is refused.
pub(crate) const VERSION: i32 = 1;

/// `kind` of row 0.
pub(crate) const KIND_START: i16 = 0;
/// `kind` of an entry.
pub(crate) const KIND_ENTRY: i16 = 1;
/// `kind` of the row behind which nothing follows.
pub(crate) const KIND_SEAL: i16 = 2;

/// The longest name of a schema: with what is put behind it, PostgreSQL's 63 bytes are kept to.
const SCHEMA_BYTES_MAX: usize = 40;

/// The statements for one schema.
#[derive(Debug)]
pub(crate) struct Sql {
    schema: String,
    pub(crate) append: String,
    pub(crate) tail: String,
    pub(crate) barrier: String,
    pub(crate) read: String,
    pub(crate) first: String,
    pub(crate) row_at: String,
    pub(crate) whose: String,
    pub(crate) partitions: String,
}

/// The types of `append`'s parameters: cell, index, epoch, kind, digest, digest before, committed up to, entry, the
/// predecessor's epoch, whether a quorum is asked for.
pub(crate) const APPEND_TYPES: [Type; 10] = [
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::INT8,
    Type::BOOL,
];

/// What the server says of itself: version, standby, fsync, full_page_writes.
pub(crate) const SERVER: &str = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
     current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'";

/// So that two that prepare at once do not meet halfway; any number that nobody else locks would do.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7700003155)";

/// Whether a schema may have this name: `a-z 0-9 _`, up to 40 characters, so that it needs no quoting.
pub fn is_schema_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    first && rest && name.len() <= SCHEMA_BYTES_MAX && !name.starts_with("pg_")
}

impl Sql {
    pub(crate) fn new(schema: &str) -> Self {
        let entries = format!("{schema}.entries");
        // Not more than the row count says anything: what stood in the way is asked for afterwards.
        let append = format!(
            "INSERT INTO {entries} (cell, index, epoch, kind, digest, digest_before, committed_upto, entry) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
             WHERE EXISTS (SELECT FROM {entries} WHERE cell = $1 AND index = $2 - 1 AND epoch = $9 AND epoch <= $3 \
                 AND digest = $6 AND kind <> {KIND_SEAL}) \
             AND (NOT $10 OR current_setting('synchronous_standby_names') <> '') \
             ON CONFLICT DO NOTHING"
        );
        let columns = "index, epoch, kind, digest, committed_upto, current_setting('synchronous_standby_names') <> ''";
        let newest = format!("FROM {entries} WHERE cell = $1 ORDER BY index DESC LIMIT 2");
        // A commit that the standbys confirm: only a primary that still has its quorum can give it.
        let confirmed = "(SELECT pg_logical_emit_message(true, 'tertium', ''::text)) IS NOT NULL";
        Self {
            schema: schema.to_owned(),
            append,
            tail: format!("SELECT {columns} {newest}"),
            barrier: format!("SELECT {columns}, {confirmed} {newest}"),
            // Lengths are known without fetching what is stored aside, so that no more is fetched than is wanted.
            read: format!(
                "SELECT index, epoch, kind, digest, digest_before, committed_upto, entry FROM ( \
                     SELECT page.*, sum(octet_length(entry)) OVER (ORDER BY index) AS upto_bytes FROM ( \
                         SELECT * FROM {entries} WHERE cell = $1 AND index >= $2 AND kind = {KIND_ENTRY} \
                         AND index <= greatest($4, (SELECT committed_upto FROM {entries} WHERE cell = $1 \
                             ORDER BY index DESC LIMIT 1)) \
                         ORDER BY index LIMIT 1000) page \
                 ) sized WHERE upto_bytes <= $3 OR index = $2 ORDER BY index"
            ),
            first: format!("SELECT index FROM {entries} WHERE cell = $1 ORDER BY index LIMIT 1"),
            row_at: format!(
                "SELECT epoch, digest FROM {entries} WHERE cell = $1 AND index = $2 AND kind <> {KIND_SEAL}"
            ),
            whose: format!("SELECT version, cell, log_id, partition_entries FROM {schema}.log"),
            partitions: format!(
                "SELECT c.relname, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false) FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid \
                 WHERE n.nspname = '{schema}' AND c.relkind = 'r' AND c.relname ~ '^entries_[0-9]+$'"
            ),
        }
    }

    /// A table of the schema.
    pub(crate) fn other_table(&self, name: &str) -> String {
        format!("{}.{name}", self.schema)
    }

    /// Whether the table `log` is there.
    pub(crate) fn is_there(&self) -> String {
        format!(
            "SELECT to_regclass('{schema}.log') IS NOT NULL, to_regnamespace('{schema}') IS NOT NULL",
            schema = self.schema
        )
    }

    /// The name of the table of entries.
    pub(crate) fn table(&self) -> String {
        format!("{}.entries", self.schema)
    }

    /// Makes the tables, with the first partitions, in one transaction: everything or nothing. `cell` has nothing to quote.
    pub(crate) fn prepare(&self, cell: &str, log_id: u64, partition_entries: u64, has_schema: bool) -> String {
        let schema = &self.schema;
        let make_schema = if has_schema { String::new() } else { format!("CREATE SCHEMA {schema};") };
        let partitions: String = (0..2).map(|number| self.make_partition(number, partition_entries)).collect();
        format!(
            "{make_schema}
             CREATE TABLE {schema}.log (
                 only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
                 version integer NOT NULL,
                 cell text NOT NULL,
                 log_id bigint NOT NULL,
                 partition_entries bigint NOT NULL CHECK (partition_entries > 0),
                 prepared_at timestamptz NOT NULL DEFAULT now()
             );
             INSERT INTO {schema}.log (version, cell, log_id, partition_entries)
                 VALUES ({VERSION}, '{cell}', {log_id}, {partition_entries});
             CREATE TABLE {schema}.entries (
                 cell text NOT NULL,
                 index bigint NOT NULL,
                 epoch bigint NOT NULL,
                 kind smallint NOT NULL,
                 digest bigint NOT NULL,
                 digest_before bigint NOT NULL,
                 committed_upto bigint NOT NULL,
                 entry bytea NOT NULL,
                 PRIMARY KEY (cell, index)
             ) PARTITION BY RANGE (index);
             ALTER TABLE {schema}.entries ALTER COLUMN entry SET STORAGE EXTERNAL;
             CREATE TABLE {schema}.checkpoints (
                 cell text NOT NULL,
                 index bigint NOT NULL,
                 epoch bigint NOT NULL,
                 digest bigint NOT NULL,
                 bytes bigint NOT NULL,
                 checksum bigint NOT NULL,
                 kept_at timestamptz NOT NULL DEFAULT now(),
                 PRIMARY KEY (cell, index)
             );
             CREATE TABLE {schema}.checkpoint_chunks (
                 cell text NOT NULL,
                 index bigint NOT NULL,
                 number bigint NOT NULL,
                 chunk bytea NOT NULL,
                 PRIMARY KEY (cell, index, number)
             );
             ALTER TABLE {schema}.checkpoint_chunks ALTER COLUMN chunk SET STORAGE EXTERNAL;
             {partitions}
             INSERT INTO {schema}.entries VALUES ('{cell}', 0, 0, {KIND_START}, {start}, {start}, 0, '');",
            log_id = log_id.cast_signed(),
            start = crate::chain::CHAIN_START,
        )
    }

    /// The statements of one transaction, which waits for the other makers of tables.
    pub(crate) fn in_transaction(statements: &str) -> String {
        // Durable like each entry behind it, whose commit comes later in the write-ahead log.
        format!("BEGIN; SET LOCAL synchronous_commit = local; {LOCK}; {statements} COMMIT")
    }

    /// Makes a partition and puts it into place. Made by itself and then attached, it takes no lock that an append waits for.
    pub(crate) fn make_partition(&self, number: u64, partition_entries: u64) -> String {
        let (table, from) = (self.table(), number * partition_entries);
        let to = from + partition_entries;
        format!(
            "CREATE TABLE {table}_{number} (LIKE {table} INCLUDING ALL); \
             ALTER TABLE {table} ATTACH PARTITION {table}_{number} FOR VALUES FROM ({from}) TO ({to});"
        )
    }

    /// Takes a partition out, so that it can be dropped without a lock on the others. Each is a statement of its own.
    pub(crate) fn detach_partition(&self, number: u64, is_half_done: bool) -> String {
        let how = if is_half_done { "FINALIZE" } else { "CONCURRENTLY" };
        format!("ALTER TABLE {table} DETACH PARTITION {table}_{number} {how}", table = self.table())
    }

    /// Drops a partition that was taken out.
    pub(crate) fn drop_partition(&self, number: u64) -> String {
        format!("DROP TABLE {}_{number}", self.table())
    }

    /// What a session is set to. Warnings must reach us; a plan is made once; nothing outlasts its caller's patience by much.
    pub(crate) fn session(wants_quorum: bool, wait_ms: u64) -> String {
        let synchronous = if wants_quorum { "on" } else { "local" };
        format!(
            "SET synchronous_commit = {synchronous}; SET client_min_messages = warning; \
             SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
             SET row_security = off; SET lock_timeout = {wait_ms}; SET statement_timeout = {wait_ms}; \
             SET idle_in_transaction_session_timeout = {wait_ms}"
        )
    }
}

/// The number of a partition, from its table's name.
pub(crate) fn partition_number(table: &str) -> Option<u64> {
    table.strip_prefix("entries_")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas() {
        for (name, expected) in [
            ("tertium", true),
            ("_t1", true),
            ("", false),
            ("1t", false),
            ("Tertium", false),
            ("a\"b", false),
            ("a.b", false),
            ("pg_x", false),
            (&"a".repeat(41), false),
        ] {
            assert_eq!(is_schema_name(name), expected, "{name}");
        }
    }
}
