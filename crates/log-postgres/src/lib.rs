//! The log on PostgreSQL: one row per entry, inserted only behind the row its writer believes in; and what is not known is said.
//!
//! # One statement
//!
//! An append is one `INSERT ... SELECT ... WHERE EXISTS (the predecessor, with the epoch and the digest that the writer
//! believes in) ON CONFLICT DO NOTHING` on the primary key (cell, index). It inserts one row or none; where none, what stood in the
//! way is looked for afterwards: a seal, another tail, a server that waits for no standby. The database itself so refuses a second
//! writer, a gap, and one that was fenced, and the table is the valid log.
//!
//! # When nobody knows
//!
//! A connection that is lost, a deadline that passes, an answer beside a warning, an error whose code does not prove that it came
//! before the commit: each makes an append `Unknown`. The log is not dead then. It drops the connection, and the next call makes a
//! new one. The caller settles it by appending a claim of a higher epoch until one is acknowledged, and reading through it: what
//! is found before the claim happened, the rest did not and never will. That holds because
//!
//! - the lost append may still be under way: unread in a socket, waiting for a lock, or committed and waiting for a standby. It
//!   has one place it can go to, the index n + 1 behind the predecessor n;
//! - the claim wants n + 1 too. The primary key lets one of them in: the second one waits for the first one's transaction and then
//!   inserts nothing. While the lost append holds the place and is not decided, the claim waits, and at its own deadline is unknown or
//!   not done: not acknowledged, so the caller goes on;
//! - was the claim first, the lost append inserts nothing, whenever it is run. What was sent behind it in the same reign asks for a
//!   predecessor at n + 1 of the old epoch and its digest, finds the claim there, and inserts nothing either;
//! - was the lost append first, the claim conflicts, and its writer reads that entry and claims behind it: at n + 2, where the same
//!   is true of the next one that was sent;
//! - trimming drops the oldest rows only and never the newest, so that a place that was taken is never free again.
//!
//! Nothing is asked about transactions by their ids: after a failover an id is given out again.
//!
//! # What a row proves
//!
//! That it was committed on the server that shows it; not that a quorum has it. A wait for a standby that is cancelled leaves a row
//! that everybody sees and a failover takes away. So each row carries `committed_upto`, what its writer knew to be acknowledged, and
//! [`read_committed`](log::Log::read_committed) gives a follower no more than that, and what the leader tells it. An acknowledged claim
//! proves everything before it: its commit comes later in the write-ahead log that the standbys confirmed.
//!
//! # What is promised, and what only its operator can keep
//!
//! In [`Quorum`](log::Durability::Quorum) the session's `synchronous_commit` is on, and `synchronous_standby_names` is looked at when the log is
//! opened and in each append: where it is empty nothing is inserted. Whoever empties it while appends wait releases them without a
//! warning: those few are acknowledged by one server. PostgreSQL's own failover must not let two primaries have a quorum each. A log that went back
//! in time, since an asynchronous standby was promoted, is found by the digest of the newest acknowledged entry: on each
//! connection, and against the options when it is opened. It ends with [`LogError::WentBack`](log::LogError::WentBack) and is not forked.
//!
//! A connection pooler that hands out sessions by transaction does not work between this and the database: the session's
//! settings are its own.

mod append;
mod chain;
mod checkpoints;
mod connector;
mod link;
mod log_postgres;
mod nodes;
mod partitions;
mod read;
mod schema;
mod settings;
mod tail;
mod thread;
mod tls;
mod verdict;

pub use checkpoints::CheckpointTable;
pub use connector::LogOptions;
pub use log_postgres::{LogPostgres, prepare};
pub use nodes::{NodeSaid, NodeSeen, NodeTable};
pub use schema::is_schema_name;
pub use settings::{Environment, Settings, SettingsError, TlsMode};
