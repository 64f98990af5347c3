//! The archive on disk: what was decided leaves memory for sealed, sorted segments behind the log, and is found again.
//!
//! ```text
//! push -> memtable -> (rotate) frozen memtable -> (job) archive/<first>.rec             the records, written once
//!                                                     + archive/<first>-<end>.names    hash -> ordinals, with a filter
//!                                                     + archive/<first>-<end>.touched  account -> every 64th ordinal
//!                                                 (job) merge 8 indexes into one
//! ```
//!
//! Nothing counts before the `MANIFEST` that names it is durable, and whatever was not sealed comes again from the log.
//! A lookup of an absent name asks the memtables' maps and one cache line of each index's filter, and touches no file.

mod archive;
mod cache;
mod error;
mod filter;
mod index;
mod job;
mod manifest;
mod memtable;
mod merge;
mod records;
mod stream;
mod view;

pub use archive::{DiskArchive, Options};
pub use error::ArchiveError;
pub use job::{Done, Job};
pub use view::{Touched, View};

/// The directory below the disk's root that everything of the archive is in.
pub const DIRECTORY: &str = "archive";

/// How many indexes of one level are merged into one of the next.
pub const FAN_OUT: usize = 8;

/// An account's history is reached from an indexed record in at most so many steps back.
pub const STEPS_MAX: u8 = 64;
