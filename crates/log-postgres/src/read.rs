//! Reading: in portions, verified against the chain, and for followers only what is known to be committed.

use crate::LogPostgres;
use crate::chain::chain;
use crate::connector::until;
use crate::link::{explain, get};
use log::{LogError, Stored};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_postgres::Row;
use words::Position;

const REMEDY: &str = "stop, and bring the table back from a standby or a backup that has the entry whole";

/// A row as it was read.
struct Read {
    stored: Stored,
    digest_before: u64,
    committed_upto: u64,
}

impl LogPostgres {
    /// The entries from an index on. With `acknowledged`, only those up to it or up to what is known to be committed.
    pub(crate) async fn read_upto(
        &mut self,
        from: u64,
        max_bytes: usize,
        acknowledged: Option<u64>,
    ) -> Result<Vec<Stored>, LogError> {
        let deadline = self.read_deadline();
        if from < self.bounds.first.load(std::sync::atomic::Ordering::Relaxed).max(1) {
            return Err(LogError::Trimmed { first: log::Log::first(self) });
        }
        let bound = acknowledged.map_or(u64::MAX, |acknowledged| acknowledged.max(self.committed_upto));
        let rows = self.fetch(from, max_bytes, bound, deadline).await?;
        let Some(newest) = rows.last() else { return self.nothing_at(from, deadline).await };
        self.committed_upto = self.committed_upto.max(newest.committed_upto);
        if rows[0].stored.position.index != from {
            self.learn_first(deadline).await?;
            let first = log::Log::first(self);
            if from < first {
                return Err(LogError::Trimmed { first });
            }
        }
        self.check_against_known(&rows[0])?;
        let stored = chained(rows, from).map_err(|(index, what)| LogError::Corrupt {
            file: self.connector.sql.table(),
            offset: index,
            what,
            remedy: REMEDY,
        })?;
        // What is committed is as good as acknowledged: it never goes.
        if let (Some(_), Some(last)) = (acknowledged, stored.last())
            && self.acknowledged.is_none_or(|(position, _)| position.index < last.position.index)
        {
            self.acknowledged = Some((last.position, last.digest));
        }
        Ok(stored)
    }

    async fn fetch(
        &mut self,
        from: u64,
        max_bytes: usize,
        bound: u64,
        deadline: Instant,
    ) -> Result<Vec<Read>, LogError> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (cell, from, max_bytes, bound) = (self.cell(), signed(from), signed(max_bytes as u64), signed(bound));
        let connector = Arc::clone(&self.connector);
        until(deadline, "reading the log", async || {
            let link = self.reader().await?;
            let rows = link.link.client.query(&link.read, &[&cell, &from, &max_bytes, &bound]).await;
            let rows = rows.map_err(|error| explain(&connector.settings, "reading the log in", error))?;
            rows.iter().map(read).collect()
        })
        .await
        // What is late on it would be taken for the answer to nothing.
        .inspect_err(|_| self.reader = None)
    }

    /// There is nothing to read: at the tail's next index, or behind what is known to be committed, that is no error.
    async fn nothing_at(&mut self, from: u64, deadline: Instant) -> Result<Vec<Stored>, LogError> {
        self.look(deadline, false).await?;
        let next = self.tail.position.index + 1;
        if from > next {
            return Err(LogError::Beyond { next });
        }
        if from < next {
            self.learn_first(deadline).await?;
        }
        let first = log::Log::first(self);
        if from < first { Err(LogError::Trimmed { first }) } else { Ok(Vec::new()) }
    }

    /// The entry behind the newest that was acknowledged follows it, or the log has another history.
    fn check_against_known(&mut self, row: &Read) -> Result<(), LogError> {
        let Some(acknowledged @ (position, digest)) = self.acknowledged else { return Ok(()) };
        let found = &row.stored;
        let is_itself = found.position.index == position.index;
        if is_itself && (found.position, found.digest) != acknowledged {
            return Err(self.end(acknowledged, Some((found.position.epoch, found.digest))));
        }
        if found.position.index == position.index + 1 && row.digest_before != digest {
            return Err(self.end(acknowledged, Some((position.epoch, row.digest_before))));
        }
        Ok(())
    }
}

fn read(row: &Row) -> Result<Read, LogError> {
    let position = Position { index: get::<i64>(row, 0)?.cast_unsigned(), epoch: get::<i64>(row, 1)?.cast_unsigned() };
    let digest = get::<i64>(row, 3)?.cast_unsigned();
    Ok(Read {
        stored: Stored { position, entry: get::<Vec<u8>>(row, 6)?, digest },
        digest_before: get::<i64>(row, 4)?.cast_unsigned(),
        committed_upto: get::<i64>(row, 5)?.cast_unsigned(),
    })
}

/// The entries of rows that follow each other without a gap from an index on, each with the digest that it must have; else the
/// first index that is wrong, and what is.
fn chained(rows: Vec<Read>, from: u64) -> Result<Vec<Stored>, (u64, String)> {
    let (mut all, mut before): (Vec<Stored>, Option<(u64, u64)>) = (Vec::with_capacity(rows.len()), None);
    for (row, index) in rows.into_iter().zip(from..) {
        let Stored { position, entry, digest } = &row.stored;
        if position.index != index {
            return Err((index, format!("entry {index} is missing, and {} is there", position.index)));
        }
        if let Some((epoch, digest)) = before
            && (epoch > position.epoch || digest != row.digest_before)
        {
            return Err((index, format!("entry {index} does not follow the one before it")));
        }
        let expected = chain(row.digest_before, *position, entry);
        if expected != *digest {
            return Err((
                index,
                format!("entry {index} has the digest {digest:016x}, and its bytes have {expected:016x}"),
            ));
        }
        before = Some((position.epoch, *digest));
        all.push(row.stored);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Read> {
        let mut digest = 0;
        let row = |index: u64| {
            let (position, entry, digest_before) = (Position { epoch: 1, index }, vec![index as u8; 3], digest);
            digest = chain(digest, position, &entry);
            Read { stored: Stored { position, entry, digest }, digest_before, committed_upto: 0 }
        };
        (1..=4).map(row).collect()
    }

    #[track_caller]
    fn check(damage: impl FnOnce(&mut Vec<Read>), expected: Option<(u64, &str)>) {
        let mut rows = rows();
        damage(&mut rows);
        let count = rows.len();
        match (chained(rows, 1), expected) {
            (Ok(stored), None) => assert_eq!(stored.len(), count),
            (Err((index, what)), Some((at, told))) => {
                assert_eq!(index, at);
                assert!(what.contains(told), "{what}");
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn what_was_changed_is_found() {
        check(|_| {}, None);
        check(|rows| drop(rows.remove(3)), None);
        check(|rows| drop(rows.remove(0)), Some((1, "entry 1 is missing, and 2 is there")));
        check(|rows| drop(rows.remove(2)), Some((3, "entry 3 is missing, and 4 is there")));
        check(|rows| rows[1].stored.entry[0] ^= 1, Some((2, "entry 2 has the digest")));
        check(|rows| rows[1].stored.digest ^= 1, Some((2, "entry 2 has the digest")));
        check(|rows| rows[1].stored.position.epoch = 2, Some((2, "entry 2 has the digest")));
        check(|rows| rows[2].digest_before ^= 1, Some((3, "entry 3 does not follow")));
        check(|rows| rows[0].stored.position.epoch = 9, Some((1, "entry 1 has the digest")));
    }
}
