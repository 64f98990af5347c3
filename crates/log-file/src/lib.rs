//! The log on prewritten files: one durable write per append, chained frames, and a start that tells a torn tail from damage.
//!
//! Everything is below `log/`: segments, numbered in order, the last of which waits for its first frame, and spares for the
//! next ones. An append is one write of one frame into a prewritten segment, and nothing else even where that begins
//! another segment; docs/adr/0002-log-sync.md has the figures behind it. Frames begin at whole blocks, so that no write ever
//! touches a block that holds something acknowledged.

mod frame;
mod log_file;
mod open;
mod pool;
mod scan;
mod segment;
mod verify;

pub use disk::BLOCK_BYTES;
pub use log_file::LogFile;
pub use open::{Cut, LogOptions, Recovered};
pub use pool::Preparer;
pub use verify::{Dumped, DumpedKind, Progress, Verified, dump, segment_files, verify};

/// The directory of everything here.
pub const DIR: &str = "log";

/// The length of a segment where nothing else is said, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
