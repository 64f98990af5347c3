//! `apply`: one entry of the log, decided.

use std::fmt;

use words::Position;

use crate::archive::{Archive, Fault};
use crate::codec::Corrupt;
use crate::command::{Entry, Op};
use crate::effect::Effect;
use crate::machine::Machine;
use crate::record::Body;
use crate::refusal::RefusalOwned;
use crate::saga::{self, SagaOp};
use crate::topic::{TOPIC_LEDGER, TopicOp};
use crate::turn::Turn;
use crate::{call, timer, topic};

/// What applying an entry gave. Reused: `apply` clears it first.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// One for each command, in order.
    pub verdicts: Vec<Verdict>,
    /// The verdicts of the items of stream batches: see [`Verdict::Items`].
    pub items: Vec<Verdict>,
    /// How many holds expired before the first command; their records come first.
    pub expired: u32,
    /// What is to be done outside now, in order.
    pub effects: Vec<Effect>,
    /// What was pending and came to its end, in order.
    pub ended: Vec<Ended>,
}

/// A pending operation came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The record under which it was pending: see [`Verdict::Pending`].
    pub began: u64,
    /// The record of its end.
    pub ordinal: u64,
    /// For how long it was uncertain, in microseconds.
    pub uncertain_us: u64,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Decided now: committed, or refused and remembered. The record says which.
    Decided {
        /// The record.
        ordinal: u64,
    },
    /// Decided before, for the same request: the first answer stands.
    Replayed {
        /// The record.
        ordinal: u64,
    },
    /// Accepted now or before, for the same request; its end is still to come: see [`Applied::ended`].
    Pending {
        /// The record that accepted it.
        ordinal: u64,
    },
    /// What came of an effect was taken in.
    Noted,
    /// What came of an effect is of no consequence any more.
    Ignored,
    /// Refused, and nothing is remembered: the deadline has passed, or the key cannot be used.
    Refused(Box<RefusalOwned>),
    /// The items of a stream batch: `Applied.items[start..start + len]`, each `Decided`, `Replayed` or `Refused`.
    Items {
        /// The first.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Void: a newer leader has fenced off the one that appended this. Nothing happened.
    Fenced {
        /// The newer leader's epoch.
        epoch: u64,
    },
}

/// The machine cannot go on. It may have applied half of the entry: throw it away, find out why, restore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApplyError {
    /// The entry is not one that this log can hold.
    Corrupt(Corrupt),
    /// The archive could not be read, or is not this machine's.
    Fault(Fault),
}

impl Machine {
    /// Applies the entry at `position`: fires what is due at its stamp, then decides its commands in order.
    ///
    /// # Errors
    /// [`ApplyError`]. An entry whose stamp or index is not above the last one's is corrupt; an archive that does not hold
    /// exactly the records of this machine's past is a fault.
    pub fn apply<A: Archive>(
        &mut self,
        position: Position,
        entry: &[u8],
        archive: &mut A,
        out: &mut Applied,
    ) -> Result<(), ApplyError> {
        out.clear();
        let entry = Entry::decode(entry)?;
        if position.index <= self.position.index {
            return Err(Corrupt("the entry was applied before").into());
        }
        if archive.next_ordinal() != self.books.next_ordinal {
            let (has, needs) = (archive.next_ordinal(), self.books.next_ordinal);
            return Err(Fault(format!("it has {has} records, the machine needs {needs}")).into());
        }
        if position.epoch < self.epoch {
            // Appended by a leader that a claim has fenced off. Its stamp means nothing here.
            self.position.index = position.index;
            return fence(self.epoch, &entry, out);
        }
        if entry.stamp <= self.stamp {
            return Err(Corrupt("the entry is stamped before the last one").into());
        }
        if entry.stamp.millis() >> 48 != 0 {
            return Err(Corrupt("the entry's stamp is past what a transfer id can hold").into());
        }
        if position.epoch > self.position.epoch {
            self.leases.stand_still(self.stamp, entry.stamp);
        }
        self.position = position;
        self.stamp = entry.stamp;
        self.books.stamp(entry.stamp.raw());
        let mut scratch = std::mem::take(&mut self.scratch);
        let stamp = entry.stamp;
        let mut turn =
            Turn { machine: self, archive, scratch: &mut scratch, position, stamp, waited_us: 0, expires: stamp };
        let applied = turn.entry(&entry, out);
        std::mem::swap(&mut out.effects, &mut scratch.effects);
        std::mem::swap(&mut out.ended, &mut scratch.ended);
        self.scratch = scratch;
        applied
    }
}

impl<A: Archive> Turn<'_, A> {
    fn entry(&mut self, entry: &Entry<'_>, out: &mut Applied) -> Result<(), ApplyError> {
        let first = self.machine.books.next_ordinal;
        self.scratch.forgets_left = topic::CHUNKS_FORGOTTEN_PER_ENTRY_MAX;
        out.expired = timer::fire(self)?;
        saga::notify(self)?;
        let mut fenced = None;
        for command in entry.commands() {
            let command = command?;
            let verdict = match command.op {
                _ if fenced.is_some() => Verdict::Fenced { epoch: self.machine.epoch },
                Op::Claim { epoch, node, continues } => {
                    let verdict = self.claim(epoch, node, continues)?;
                    fenced = matches!(verdict, Verdict::Fenced { .. }).then_some(());
                    verdict
                }
                Op::HandOver { .. } => Verdict::Noted,
                Op::Configure { key_retention_ms } => {
                    self.machine.retention.change(key_retention_ms, self.stamp);
                    Verdict::Decided { ordinal: self.write_unnamed(Body::Configured { key_retention_ms }) }
                }
                Op::Tried(ref tried) => call::tried::take(self, tried)?,
                Op::Topic(TopicOp::Delivered(ref reports)) => topic::delivered::take(self, reports)?,
                Op::Saga(SagaOp::Step(ref report)) => saga::step::take(self, report)?,
                _ => self.command(&command, out)?,
            };
            saga::notify(self)?;
            out.verdicts.push(verdict);
        }
        self.wake_subscriptions(first);
        Ok(())
    }

    /// Has the outbox look at the subscriptions there may be something for. The events of the ledger are records like others:
    /// that there is any new record from `first` on has its subscriptions looked at.
    fn wake_subscriptions(&mut self, first: u64) {
        let woken = &mut self.scratch.woken;
        if self.machine.books.next_ordinal > first {
            woken.extend(self.machine.topics.subscriptions.active(TOPIC_LEDGER));
        }
        while let Some(subscription) = woken.pop_first() {
            self.scratch.effects.push(Effect::Deliver { subscription });
        }
    }

    /// A leader takes over. One that comes after a newer one is fenced off, and all that follows in its entry.
    fn claim(&mut self, epoch: u64, node: &str, continues: bool) -> Result<Verdict, ApplyError> {
        if epoch <= self.machine.epoch {
            return Ok(Verdict::Fenced { epoch: self.machine.epoch });
        }
        self.machine.epoch = epoch;
        let ordinal = self.write_unnamed(Body::Claimed { node });
        if continues {
            return Ok(Verdict::Decided { ordinal });
        }
        call::tried::performers_lost(self)?;
        // Nobody knows any more what was under way: all is looked at anew.
        self.scratch.woken.extend(self.machine.topics.subscriptions.all_active());
        saga::due::performers_lost(self);
        Ok(Verdict::Decided { ordinal })
    }
}

fn fence(epoch: u64, entry: &Entry<'_>, out: &mut Applied) -> Result<(), ApplyError> {
    for command in entry.commands() {
        command?;
        out.verdicts.push(Verdict::Fenced { epoch });
    }
    Ok(())
}

impl Applied {
    /// Empty, with its memory kept.
    pub fn clear(&mut self) {
        self.verdicts.clear();
        self.items.clear();
        self.effects.clear();
        self.ended.clear();
        self.expired = 0;
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt(_) => "the entry cannot be applied",
            Self::Fault(_) => "what the entry refers to cannot be read",
        })
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Corrupt(source) => Some(source),
            Self::Fault(source) => Some(source),
        }
    }
}

impl From<Corrupt> for ApplyError {
    fn from(source: Corrupt) -> Self {
        Self::Corrupt(source)
    }
}

impl From<Fault> for ApplyError {
    fn from(source: Fault) -> Self {
        Self::Fault(source)
    }
}

#[cfg(test)]
mod tests;
