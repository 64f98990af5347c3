//! What the cell has its log do, one thing at a time: on a thread of its own, since each may wait for a disk or a network.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use log::{Append, Log, LogError, Stored};
use words::Position;

use crate::handle::{Message, lock};
use crate::inbox::Inbox;

/// How much of a log is read at a time where a doubt is settled.
const READ_BYTES: usize = 8 << 20;

/// Something for the log to do.
pub(crate) enum Job {
    Append {
        after: Position,
        epoch: u64,
        entry: Vec<u8>,
    },
    /// Who leads, asked after `asked_us` of the cell's monotonic clock.
    Tail {
        asked_us: u64,
    },
    Read {
        from: u64,
    },
    /// What is committed from an index on, and where the log ended after `asked_us` of the cell's monotonic clock.
    Follow {
        from: u64,
        asked_us: u64,
    },
    Trim {
        upto: u64,
    },
}

/// What came of it.
pub(crate) enum Done {
    Append {
        position: Position,
        entry: Vec<u8>,
        result: Append,
    },
    Tail {
        asked_us: u64,
        result: Result<Position, LogError>,
    },
    Read(Result<Vec<Stored>, LogError>),
    Followed {
        asked_us: u64,
        result: Result<(Position, Vec<Stored>), LogError>,
    },
    /// With the first index that is left.
    Trim(Result<u64, LogError>),
}

pub(crate) fn perform(log: &Mutex<Box<dyn Log>>, job: Job) -> Done {
    let mut log = lock(log);
    match job {
        Job::Append { after, epoch, entry } => {
            let result = log.append(after, epoch, &entry);
            Done::Append { position: Position { epoch, index: after.index + 1 }, entry, result }
        }
        Job::Tail { asked_us } => Done::Tail { asked_us, result: log.tail() },
        Job::Read { from } => Done::Read(log.read(from, READ_BYTES)),
        Job::Follow { from, asked_us } => Done::Followed { asked_us, result: follow(&mut **log, from) },
        Job::Trim { upto } => Done::Trim(log.trim(upto).map(|()| log.first())),
    }
}

/// The tail is linearizable, which takes a commit that a quorum confirms where there is one: all that stands before it is
/// committed.
fn follow(log: &mut dyn Log, from: u64) -> Result<(Position, Vec<Stored>), LogError> {
    let tail = log.tail()?;
    let found = if tail.index < from { Vec::new() } else { log.read_committed(from, READ_BYTES, tail.index)? };
    Ok((tail, found))
}

pub(crate) fn perform_all(log: &Mutex<Box<dyn Log>>, jobs: &Receiver<Job>, inbox: &Inbox<Message>) {
    for job in jobs {
        let done = perform(log, job);
        // The cell waits for this before it ends.
        drop(inbox.send(Message::Log(done)));
    }
}
