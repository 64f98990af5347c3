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
        Job::Trim { upto } => Done::Trim(log.trim(upto).map(|()| log.first())),
    }
}

pub(crate) fn perform_all(log: &Mutex<Box<dyn Log>>, jobs: &Receiver<Job>, inbox: &Inbox<Message>) {
    for job in jobs {
        let done = perform(log, job);
        // The cell waits for this before it ends.
        drop(inbox.send(Message::Log(done)));
    }
}
