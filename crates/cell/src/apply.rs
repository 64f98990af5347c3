//! From a durable entry to its answers.
//!
//! If this stops halfway, the entry is in the log: the next start applies it again from there, and whoever asks again
//! under the same key gets the answer that was not delivered.

use machine::{Archive, BatchItem, Body, Record, RefusalOwned, Verdict, batch_items};
use words::Position;

use crate::api::{Answer, Decided, Reply, SETTLED_BOUNDS_MS};
use crate::cell::{Asks, Batch, Cell, Note, Queued};
use crate::fault::CellFault;

/// How many recent operations are remembered beside their records before all are forgotten.
const NOTES_MAX: usize = 1 << 16;

impl<W, R> Cell<W, R> {
    /// The log has made the entry durable that [`Cell::take_batch`] or [`Cell::claim`] gave.
    pub fn appended(&mut self, position: Position, entry: Vec<u8>) {
        let batch = self.appending.take().expect("an append was under way");
        self.proven_us = self.proven_us.max(batch.began_us);
        self.note_durable(position, Batch { entry, ..batch });
    }

    /// An entry is durable, and waits to be applied.
    pub(crate) fn note_durable(&mut self, position: Position, batch: Batch<W>) {
        assert_eq!(position.index, self.tail.index + 1, "the log is dense");
        self.counters.entries += 1;
        self.counters.entry_bytes += batch.entry.len() as u64;
        self.tail = position;
        self.ready.push_back((position, batch));
    }

    /// Applies the oldest durable entry that is not applied yet, and answers its operations. Says whether there was one.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn apply_next(&mut self) -> Result<bool, CellFault> {
        let Some((position, batch)) = self.ready.pop_front() else { return Ok(false) };
        self.apply_entry(position, &batch.entry)?;
        let mut applied = std::mem::take(&mut self.applied);
        // The claim is the cell's own: its verdicts have nobody to go to.
        for (verdict, operation) in applied.verdicts.iter().zip(batch.operations) {
            self.conclude(position, verdict, &applied.items, operation)?;
        }
        for ended in &applied.ended {
            self.answer_ended(ended.began, ended.ordinal)?;
            if ended.uncertain_us > 0 {
                let ms = ended.uncertain_us / 1_000;
                let bucket = SETTLED_BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(SETTLED_BOUNDS_MS.len());
                self.counters.settled[bucket] += 1;
                self.counters.settled_us += ended.uncertain_us;
            }
        }
        if !self.following {
            self.note_effects(&applied.effects)?;
        }
        applied.verdicts.clear();
        self.applied = applied;
        Ok(true)
    }

    /// Applies an entry for its state alone: at recovery, nobody waits for an answer.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub(crate) fn apply_entry(&mut self, position: Position, entry: &[u8]) -> Result<(), CellFault> {
        if position.epoch > self.machine.epoch() {
            self.note_leader(entry)?;
        }
        self.machine.apply(position, entry, &mut self.archive, &mut self.applied)?;
        self.counters.expired_holds += u64::from(self.applied.expired);
        self.counters.decided += (self.applied.verdicts.len() + self.applied.items.len()) as u64;
        self.progress.note_applied(entry.len());
        Ok(())
    }

    fn conclude(
        &mut self,
        position: Position,
        verdict: &Verdict,
        items: &[Verdict],
        operation: Queued<W>,
    ) -> Result<(), CellFault> {
        let mut answer = Answer::default();
        let mut replayed = false;
        let mut decided_at = position;
        match verdict {
            Verdict::Pending { ordinal } => {
                self.pend(*ordinal, operation)?;
                return Ok(());
            }
            Verdict::Noted | Verdict::Ignored => {}
            Verdict::Items { start, len } => {
                for item in &items[*start..*start + *len] {
                    self.collect_verdict(item, position, &mut answer)?;
                }
            }
            Verdict::Fenced { epoch } => return Err(CellFault::Fenced { epoch: *epoch }),
            single => {
                replayed = matches!(single, Verdict::Replayed { .. });
                decided_at = self.collect_verdict(single, position, &mut answer)?;
            }
        }
        let seen = self.machine.position();
        let decided = Decided { position: decided_at, seen, replayed, joined: false, answer };
        let key = machine::Command::decode(&operation.command)?.key.to_owned();
        self.answer_joined(&operation, &decided, &key)?;
        if let Some(waiter) = operation.waiter {
            self.replies.push((waiter.who, Reply::Decided(decided)));
        }
        Ok(())
    }

    /// The operation is accepted: those who ask for it wait for its end, and whoever used its key otherwise is refused.
    fn pend(&mut self, began: u64, operation: Queued<W>) -> Result<(), CellFault> {
        let inflight = operation.name.and_then(|name| self.land(name));
        let joined = inflight.map(|inflight| inflight.joined).unwrap_or_default();
        let (others, same): (Vec<_>, Vec<_>) = joined.into_iter().partition(|join| join.asks == Asks::Other);
        if !others.is_empty() {
            let key = machine::Command::decode(&operation.command)?.key.to_owned();
            for other in others {
                let decided = self.reused(&key);
                self.replies.push((other.waiter.who, Reply::Decided(decided)));
            }
        }
        self.wait_for_end(began, operation.waiter, same);
        Ok(())
    }

    /// The answer to who uses the key of something else.
    fn reused(&self, key: &str) -> Decided {
        let mut answer = Answer::default();
        answer.push_refusal(machine::Refusal { code: machine::Code::KeyReused, about: key, had: 0, wanted: 0 });
        let position = self.machine.position();
        Decided { position, seen: position, replayed: false, joined: false, answer }
    }

    fn answer_joined(&mut self, operation: &Queued<W>, decided: &Decided, key: &str) -> Result<(), CellFault> {
        let Some(name) = operation.name else { return Ok(()) };
        let Some(inflight) = self.land(name) else { return Ok(()) };
        for join in inflight.joined {
            let mut decided = decided.clone();
            decided.joined = true;
            if join.asks != Asks::Other {
                self.note(name).joins += 1;
            } else {
                decided = Decided { position: decided.position, ..self.reused(key) };
            }
            self.replies.push((join.waiter.who, Reply::Decided(decided)));
        }
        Ok(())
    }

    /// What is remembered of a recent operation, to be added to.
    pub(crate) fn note(&mut self, name: u128) -> &mut Note {
        if self.notes.len() >= NOTES_MAX {
            self.notes.clear();
        }
        self.notes.entry(name).or_default()
    }

    fn collect_verdict(
        &self,
        verdict: &Verdict,
        position: Position,
        answer: &mut Answer,
    ) -> Result<Position, CellFault> {
        match verdict {
            Verdict::Decided { ordinal } => self.collect(*ordinal, false, answer),
            Verdict::Replayed { ordinal } => self.collect(*ordinal, true, answer),
            Verdict::Refused(refusal) => {
                answer.push_refusal(refusal.as_refusal());
                Ok(position)
            }
            _ => unreachable!("an item is decided, replayed or refused"),
        }
    }

    /// Copies a record and, of a batch, its items' records. Gives the position that decided it.
    pub(crate) fn collect(&self, ordinal: u64, replayed: bool, answer: &mut Answer) -> Result<Position, CellFault> {
        let mut position = Ok(Position::START);
        let mut items = Vec::new();
        self.archive.read(ordinal, &mut |bytes| {
            answer.push_record(bytes, ordinal, replayed);
            position = Record::decode(bytes).map(|record| {
                if let Body::Batch { items: runs, exceptions, .. } = record.body {
                    items.extend(batch_items(runs, exceptions).map(Item::from));
                }
                record.position
            });
        })?;
        for item in items {
            match item {
                Item::Recorded(ordinal) => {
                    self.archive.read(ordinal, &mut |bytes| answer.push_record(bytes, ordinal, replayed))?;
                }
                Item::Refused(refusal) => answer.push_refusal(refusal.as_refusal()),
            }
        }
        Ok(position?)
    }
}

/// A [`BatchItem`] that outlives the batch's record.
enum Item {
    Recorded(u64),
    Refused(RefusalOwned),
}

impl From<BatchItem<'_>> for Item {
    fn from(item: BatchItem<'_>) -> Self {
        match item {
            BatchItem::Recorded(ordinal) => Self::Recorded(ordinal),
            BatchItem::Refused(refusal) => Self::Refused(refusal.into()),
        }
    }
}
