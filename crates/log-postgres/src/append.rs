//! Appending: one statement that compares and sets, and what its answer means.

use crate::LogPostgres;
use crate::chain::chain;
use crate::connector::until;
use crate::link::text;
use crate::partitions::make;
use crate::schema::{KIND_ENTRY, KIND_SEAL};
use crate::tail::{Tail, WhyNot, why_not};
use crate::verdict::{Verdict, judge};
use log::{Append, LogError, Rejected};
use std::io;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use words::Position;

/// How often an append is tried that nothing stood in the way of any more when it was looked for.
const TRIES_MAX: u32 = 5;

const UNREACHABLE: &str = "the database is not reached, or is not the one it should be";
const LOST_MEANWHILE: &str = "the database was lost while it said why it had not taken an entry";
const NO_QUORUM: &str =
    "the database waits for no standby (synchronous_standby_names is empty), and a quorum is promised";
const UNSTEADY: &str = "the log moved while it was looked at";
const NO_PARTITION: &str = "the partition for the next entry could not be made";

/// One row to insert.
struct NewRow<'a> {
    kind: i16,
    position: Position,
    /// The predecessor, and the chain's digest there.
    after: (Position, u64),
    digest: u64,
    entry: &'a [u8],
}

/// What became of one try.
enum Tried {
    Done,
    WhyNot(WhyNot),
    /// Certainly not done.
    NotDone(Rejected),
    /// Nothing in the way any more.
    Again,
    /// Nobody knows.
    Unknown(LogError),
    /// The log is at its end.
    Over(LogError),
}

impl LogPostgres {
    pub(crate) async fn append_entry(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        let deadline = Instant::now() + self.connector.options.append_wait;
        for _ in 0..TRIES_MAX {
            match self.try_append(after, epoch, KIND_ENTRY, entry, deadline).await {
                Tried::Done => return Append::Ok(self.tail.position),
                Tried::WhyNot(WhyNot::Sealed) => return Append::Rejected(Rejected::Sealed),
                Tried::WhyNot(WhyNot::Conflict) => return Append::Conflict { tail: self.tail.position },
                Tried::WhyNot(WhyNot::NoQuorum) => return unavailable(NO_QUORUM),
                Tried::NotDone(why) => return Append::Rejected(why),
                Tried::Again | Tried::WhyNot(WhyNot::Passed | WhyNot::OtherHistory) => {}
                Tried::Unknown(error) | Tried::Over(error) => return Append::Unknown(error),
            }
        }
        unavailable(UNSTEADY)
    }

    /// Appends the row behind which nothing follows. Where nobody knows whether it was done, looking again tells.
    pub(crate) async fn append_seal(&mut self) -> Result<Position, LogError> {
        let deadline = self.read_deadline();
        self.look(deadline, true).await?;
        while !self.tail.is_sealed {
            let (position, append_deadline) = (self.tail.position, Instant::now() + self.connector.options.append_wait);
            let last = match self.try_append(position, position.epoch, KIND_SEAL, &[], append_deadline).await {
                Tried::Done => break,
                Tried::NotDone(Rejected::Full) => return Err(LogError::Full),
                Tried::Over(error) => return Err(error),
                Tried::Unknown(error) => Some(error),
                Tried::NotDone(why) => Some(LogError::io("sealing the log", io::Error::other(why))),
                Tried::WhyNot(_) | Tried::Again => None,
            };
            if Instant::now() >= deadline {
                let late = || LogError::io("sealing the log", io::ErrorKind::TimedOut.into());
                return Err(last.unwrap_or_else(late));
            }
            self.look(deadline, true).await?;
        }
        Ok(self.tail.position)
    }

    async fn try_append(&mut self, after: Position, epoch: u64, kind: i16, entry: &[u8], deadline: Instant) -> Tried {
        if self.tail.is_sealed {
            return Tried::WhyNot(WhyNot::Sealed);
        }
        if let Err(error) = self.make_appender(deadline).await {
            return match error {
                LogError::WentBack { .. } => Tried::Over(error),
                _ => Tried::NotDone(Rejected::Unavailable { why: UNREACHABLE }),
            };
        }
        if (after != self.tail.position || epoch < after.epoch)
            && let Some(tried) = self.ask_why((after, self.tail.digest), epoch, deadline).await
        {
            return tried;
        }
        let digest_before = self.tail.digest;
        let row = match kind {
            KIND_ENTRY => {
                let position = Position { epoch, index: after.index + 1 };
                let digest = chain(digest_before, position, entry);
                NewRow { kind, position, after: (after, digest_before), digest, entry }
            }
            _ => {
                let position = Position { epoch: after.epoch, index: after.index + 1 };
                NewRow { kind, position, after: (after, digest_before), digest: digest_before, entry }
            }
        };
        match self.insert(&row, deadline).await {
            Ok(Ok(1)) => {
                self.take_over(&row);
                Tried::Done
            }
            Ok(Ok(_)) => self.ask_why(row.after, epoch, deadline).await.unwrap_or(Tried::Again),
            Ok(Err(error)) => self.on_error(&row, &error, deadline).await,
            Err(unknown) => {
                self.appender = None;
                Tried::Unknown(unknown)
            }
        }
    }

    /// The connection for appends. It leaves time for the append itself.
    async fn make_appender(&mut self, deadline: Instant) -> Result<(), LogError> {
        if self.appender.as_ref().is_some_and(|appender| !appender.link.client.is_closed()) {
            return Ok(());
        }
        self.appender = None;
        let deadline = deadline - self.connector.options.append_wait / 4;
        let link = until(deadline, "connecting for appends", async || self.connect_verified().await).await?;
        self.appender = Some(link);
        Ok(())
    }

    /// Inserts the row: the row count or what the server said; an error of ours where nobody knows.
    async fn insert(&mut self, row: &NewRow<'_>, deadline: Instant) -> Result<Result<u64, Error>, LogError> {
        let appending = || format!("appending entry {} to {}", row.position, self.connector.settings);
        let appender = self.appender.as_ref().expect("the caller has made it");
        let cell = self.connector.options.cell.as_str();
        let (index, epoch) = (signed(row.position.index), signed(row.position.epoch));
        let (digest, digest_before) = (row.digest.cast_signed(), row.after.1.cast_signed());
        let (committed_upto, epoch_before) = (signed(self.committed_upto), signed(row.after.0.epoch));
        let wants_quorum = self.connector.wants_quorum();
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &cell,
            &index,
            &epoch,
            &row.kind,
            &digest,
            &digest_before,
            &committed_upto,
            &row.entry,
            &epoch_before,
            &wants_quorum,
        ];
        appender.link.take_doubt();
        let answer = timeout_at(deadline, appender.link.client.execute(&appender.append, &parameters)).await;
        match (answer, appender.link.take_doubt()) {
            (Err(_), _) => Err(LogError::io(appending(), io::ErrorKind::TimedOut.into())),
            (Ok(Ok(_)), Some(doubt)) => {
                let what = format!("the server answered, and warned: {doubt}");
                Err(LogError::io(appending(), io::Error::other(what)))
            }
            (Ok(answer), _) => Ok(answer),
        }
    }

    async fn on_error(&mut self, row: &NewRow<'_>, error: &Error, deadline: Instant) -> Tried {
        let verdict = error
            .as_db_error()
            .map_or(Verdict::Unknown, |database| judge(database.parsed_severity(), database.code().code()));
        match verdict {
            Verdict::Full => {
                self.be_full();
                Tried::NotDone(Rejected::Full)
            }
            Verdict::NoPartition => self.make_partition(row.position.index, deadline).await,
            Verdict::NotDone(why) => {
                // Whatever it was, a new session has not seen it.
                self.appender = None;
                Tried::NotDone(Rejected::Unavailable { why })
            }
            Verdict::Unknown => {
                self.appender = None;
                let what = format!("appending entry {} to {}", row.position, self.connector.settings);
                Tried::Unknown(LogError::io(what, io::Error::other(text(error))))
            }
        }
    }

    async fn make_partition(&mut self, index: u64, deadline: Instant) -> Tried {
        let partition_entries = self.connector.whose().partition_entries;
        let connector = Arc::clone(&self.connector);
        let appender = self.appender.as_ref().expect("an answer has just come from it");
        let making = make(&appender.link, &connector.sql, index / partition_entries, partition_entries);
        match timeout_at(deadline, making).await {
            Ok(Ok(())) => Tried::Again,
            Ok(Err(error)) if error.code().is_some_and(|code| code.code() == "53100") => {
                self.be_full();
                Tried::NotDone(Rejected::Full)
            }
            Ok(Err(_)) | Err(_) => {
                self.appender = None;
                Tried::NotDone(Rejected::Unavailable { why: NO_PARTITION })
            }
        }
    }

    /// Why nothing was inserted, or would be. `None` where nothing is in the way.
    async fn ask_why(&mut self, after: (Position, u64), epoch: u64, deadline: Instant) -> Option<Tried> {
        let appender = self.appender.as_ref().expect("the caller has made it");
        let cell = self.cell();
        let asked = timeout_at(deadline, appender.link.client.query(&appender.tail, &[&cell])).await;
        let Ok(Ok(rows)) = asked else {
            self.appender = None;
            return Some(Tried::NotDone(Rejected::Unavailable { why: LOST_MEANWHILE }));
        };
        let known = self.tail;
        if let Err(error) = Tail::of(&rows).and_then(|seen| self.accept(seen)) {
            return Some(Tried::Over(error));
        }
        // Of another position than the newest one known the digest is not known, and not needed: it conflicts, or is new.
        let digest = if after.0 == known.position { after.1 } else { self.tail.digest };
        match why_not(&self.tail, (after.0, digest), epoch, self.connector.wants_quorum()) {
            WhyNot::Passed => None,
            WhyNot::OtherHistory => {
                let found = (self.tail.position.epoch, self.tail.digest);
                Some(Tried::Over(self.end((after.0, digest), Some(found))))
            }
            why => Some(Tried::WhyNot(why)),
        }
    }

    /// What was acknowledged is the new tail.
    fn take_over(&mut self, row: &NewRow<'_>) {
        if row.kind == KIND_SEAL {
            self.tail.is_sealed = true;
        } else {
            (self.tail.position, self.tail.digest) = (row.position, row.digest);
        }
        self.acknowledged = Some((self.tail.position, self.tail.digest));
        self.committed_upto = self.committed_upto.max(self.tail.position.index);
        self.bounds.reach(self.tail.position.index, self.connector.whose().partition_entries);
    }
}

fn unavailable(why: &'static str) -> Append {
    Append::Rejected(Rejected::Unavailable { why })
}

/// Epochs and indexes count one by one.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("nobody counts to 2^63")
}
