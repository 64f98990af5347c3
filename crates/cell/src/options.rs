//! What can be set about a cell, with defaults that are safe.

use words::CellName;

/// Settings of one cell.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cell's name, part of every position and checked against what is on disk.
    pub cell: CellName,
    /// Who this node is, written into the claim.
    pub node: String,
    /// How this node takes turns with others on a log that they share; `None` where it is alone, and leads from its start on.
    pub turns: Option<Turns>,
    /// Whether others may append to the log, so that only the log can say who leads. Set by [`crate::start`] as the log says.
    pub log_is_shared: bool,
    /// How long decided keys are kept. Default 7 days, at least 1 hour.
    pub key_retention_ms: u64,
    /// The most commands that wait to be appended; more are turned away. Default 65,536.
    pub queue_commands_max: usize,
    /// The most bytes of commands that wait, likewise. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// The largest entry that commands are joined into; one command may still be larger. Default 1 MiB.
    pub entry_bytes_max: usize,
    /// The size of one log segment. Default 64 MiB.
    pub segment_bytes: u64,
    /// A checkpoint begins after this many bytes of log. Default 128 MiB.
    pub checkpoint_bytes: u64,
    /// How many bytes of log to keep at least, though the two newest checkpoints need less. Default 256 MiB.
    pub log_retention_bytes: u64,
    /// How many accounts or holds a checkpoint writes between two entries. Default 1,000, about 0.1 ms.
    pub checkpoint_chunk_items: usize,
    /// The most records of one memtable, after which it is sealed into a segment, if its bytes do not end it before. Default
    /// 524,288.
    pub memtable_records_max: usize,
    /// How many frozen memtables may wait to be written before writes are turned away. Default 8.
    pub archive_backlog_max: usize,
    /// The most reads that may wait for a position or an operation. Default 16,384.
    pub waiting_reads_max: usize,
    /// The most requests that may wait for one operation in flight under their key. Default 1,024.
    pub joined_max: usize,
    /// The most requests that may wait for the end of what was accepted; others have only the acceptance. Default 65,536.
    pub pending_waiters_max: usize,
    /// The most durable calls that may be open; more are turned away. Default 100,000.
    pub open_calls_max: u64,
    /// The most runs of sagas that may be open; more are turned away. Default 100,000.
    pub open_runs_max: u64,
}

/// How nodes on one log take turns. The same for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turns {
    /// A leader that has appended nothing for so long appends a tick, as a sign of life. Default 300.
    pub heartbeat_ms: u64,
    /// A follower claims only after a silence of so long, and a twentieth more for clocks that drift. Default 1,000.
    pub lease_ms: u64,
}

impl Default for Turns {
    fn default() -> Self {
        Self { heartbeat_ms: 300, lease_ms: 1_000 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cell: CellName::new("main").expect("`main` is a cell name"),
            node: "one".to_owned(),
            turns: None,
            log_is_shared: false,
            key_retention_ms: 7 * 24 * 3_600_000,
            queue_commands_max: 65_536,
            queue_bytes_max: 64 << 20,
            entry_bytes_max: 1 << 20,
            segment_bytes: 64 << 20,
            checkpoint_bytes: 128 << 20,
            log_retention_bytes: 256 << 20,
            checkpoint_chunk_items: 1_000,
            memtable_records_max: 524_288,
            archive_backlog_max: 8,
            waiting_reads_max: 16_384,
            joined_max: 1_024,
            pending_waiters_max: 65_536,
            open_calls_max: 100_000,
            open_runs_max: 100_000,
        }
    }
}
