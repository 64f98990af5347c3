//! Partitions are made before the log reaches them and dropped when it was trimmed past them, beside the appends.

use crate::connector::Connector;
use crate::link::Link;
use crate::schema::{Sql, partition_number};
use crate::thread::Thread;
use log::{Kept, LogError, Upkeep};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// So many partitions are there ahead of the one that is appended to.
const AHEAD: u64 = 2;

/// What the log and its upkeep tell each other.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// The first index that is readable.
    pub(crate) first: AtomicU64,
    /// The newest index that was seen.
    pub(crate) newest: AtomicU64,
    /// Entries up to here may go.
    trim_upto: AtomicU64,
    /// There may be something to do.
    work: Mutex<bool>,
    more: Condvar,
}

impl Bounds {
    /// The newest entry is this one.
    pub(crate) fn reach(&self, index: u64, partition_entries: u64) {
        let before = self.newest.swap(index, Ordering::Relaxed);
        if before / partition_entries != index / partition_entries {
            self.call();
        }
    }

    pub(crate) fn trim(&self, upto: u64) {
        if self.trim_upto.fetch_max(upto, Ordering::Relaxed) < upto {
            self.call();
        }
    }

    fn call(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.more.notify_all();
    }
}

/// One piece of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    Make(u64),
    /// Take it out; it may have been begun by someone who did not end it.
    Detach {
        number: u64,
        is_half_done: bool,
    },
    /// Drop what was taken out.
    Drop(u64),
}

/// A partition's table, as it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    number: u64,
    is_attached: bool,
    is_half_detached: bool,
}

/// What is to be done next. `newest` is the newest index; its partition always stays.
fn next_piece(found: &[Found], newest: u64, trim_upto: u64, partition_entries: u64) -> Option<Piece> {
    let current = newest / partition_entries;
    let is_there = |number| found.iter().any(|one| one.number == number && one.is_attached);
    if let Some(missing) = (current..=current + AHEAD).find(|number| !is_there(*number)) {
        return Some(Piece::Make(missing));
    }
    // From the oldest on, so that what is left has no gap, and an entry's predecessor never goes after it.
    let oldest = found.iter().min_by_key(|one| one.number).filter(|one| one.number < current)?;
    let number = oldest.number;
    let last = (number + 1) * partition_entries - 1;
    match (oldest.is_attached, oldest.is_half_detached) {
        (false, _) => Some(Piece::Drop(number)),
        (true, true) => Some(Piece::Detach { number, is_half_done: true }),
        (true, false) if last <= trim_upto => Some(Piece::Detach { number, is_half_done: false }),
        (true, false) => None,
    }
}

/// Makes and drops partitions, on a connection of its own.
pub(crate) struct Partitions {
    pub(crate) thread: Arc<Thread>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) link: Mutex<Option<Link>>,
}

impl Partitions {
    pub(crate) fn new(thread: Arc<Thread>, connector: Arc<Connector>, bounds: Arc<Bounds>) -> Self {
        Self { thread, connector, bounds, link: Mutex::new(None) }
    }

    async fn run(&self, link: &Link) -> Result<Kept, tokio_postgres::Error> {
        let sql = &self.connector.sql;
        let partition_entries = self.connector.whose().partition_entries;
        let rows = link.client.query_typed(&sql.partitions, &[]).await?;
        let mut found = Vec::new();
        for row in rows {
            if let Some(number) = partition_number(row.try_get(0)?) {
                found.push(Found { number, is_attached: row.try_get(1)?, is_half_detached: row.try_get(2)? });
            }
        }
        // Others drop partitions too.
        if let Some(oldest) =
            found.iter().filter(|one| one.is_attached && !one.is_half_detached).map(|one| one.number).min()
        {
            self.bounds.first.fetch_max(oldest * partition_entries, Ordering::Relaxed);
        }
        let newest = self.bounds.newest.load(Ordering::Relaxed);
        let trim_upto = self.bounds.trim_upto.load(Ordering::Relaxed);
        let Some(piece) = next_piece(&found, newest, trim_upto, partition_entries) else { return Ok(Kept::Idle) };
        match piece {
            Piece::Make(number) => make(link, sql, number, partition_entries).await?,
            Piece::Detach { number, is_half_done } => {
                self.bounds.first.fetch_max((number + 1) * partition_entries, Ordering::Relaxed);
                link.client.batch_execute(&sql.detach_partition(number, is_half_done)).await?;
            }
            Piece::Drop(number) => link.client.batch_execute(&sql.drop_partition(number)).await?,
        }
        Ok(Kept::Worked)
    }
}

/// Makes a partition, unless someone else has.
pub(crate) async fn make(
    link: &Link,
    sql: &Sql,
    number: u64,
    partition_entries: u64,
) -> Result<(), tokio_postgres::Error> {
    let made = link.client.batch_execute(&Sql::in_transaction(&sql.make_partition(number, partition_entries))).await;
    match made {
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_TABLE) => link.client.batch_execute("ROLLBACK").await,
        Err(error) => {
            // Where the connection still lives, its transaction does too.
            let _ = link.client.batch_execute("ROLLBACK").await;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

impl Upkeep for Partitions {
    /// What fails is tried again: an append makes the partition that it needs where there is none.
    fn run_once(&self) -> Result<Kept, LogError> {
        *self.bounds.work.lock().unwrap_or_else(PoisonError::into_inner) = false;
        let mut kept = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        self.thread.block_on(async {
            if kept.is_none() {
                *kept = self.connector.connect_for_upkeep().await.ok();
            }
            let Some(link) = kept.as_ref() else { return Ok(Kept::Idle) };
            match tokio::time::timeout(self.connector.options.append_wait, self.run(link)).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) if error.code() == Some(&SqlState::DISK_FULL) => Ok(Kept::Full),
                Ok(Err(_)) | Err(_) => {
                    *kept = None;
                    Ok(Kept::Idle)
                }
            }
        })
    }

    fn wait(&self, timeout: Duration) {
        let work = self.bounds.work.lock().unwrap_or_else(PoisonError::into_inner);
        // Woken or not, the caller looks.
        let _ = self.bounds.more.wait_timeout_while(work, timeout, |work| !*work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(numbers: impl IntoIterator<Item = u64>) -> Vec<Found> {
        let found = |number| Found { number, is_attached: true, is_half_detached: false };
        numbers.into_iter().map(found).collect()
    }

    #[test]
    fn what_is_done_next() {
        use Piece::{Detach, Drop, Make};
        let whole = |number| Detach { number, is_half_done: false };
        for (found, newest, trim_upto, expected, why) in [
            (attached(0..=2), 0, 0, None, "enough"),
            (attached(0..=1), 0, 0, Some(Make(2)), "one ahead is missing"),
            (attached(0..=2), 9, 0, None, "the last index of the first partition"),
            (attached(0..=2), 10, 0, Some(Make(3)), "the second partition is begun"),
            (vec![], 35, 99, Some(Make(3)), "nothing there: what is needed now comes first"),
            (attached(0..=5), 35, 8, None, "the first is not given up to its end"),
            (attached(0..=5), 35, 9, Some(whole(0)), "the first is"),
            (attached(1..=5), 35, 29, Some(whole(1)), "from the oldest on"),
            (attached(3..=5), 35, u64::MAX, None, "the newest entry's stays"),
            (attached(2..=5), 30, u64::MAX, Some(whole(2)), "its predecessor's may go"),
        ] {
            assert_eq!(next_piece(&found, newest, trim_upto, 10), expected, "{why}");
        }
        let mut found = attached(0..=5);
        found[0].is_half_detached = true;
        assert_eq!(next_piece(&found, 35, 0, 10), Some(Detach { number: 0, is_half_done: true }), "begun, not ended");
        found[0].is_attached = false;
        assert_eq!(next_piece(&found, 35, 0, 10), Some(Drop(0)), "taken out, not dropped");
    }
}
