//! One entry being applied: the machine, the archive, and when it is.

use std::collections::BTreeSet;

use words::{Fingerprint, Position, Stamp};

use crate::apply::{Applied, ApplyError, Ended, Verdict};
use crate::archive::{Archive, NameHash};
use crate::books::Marks;
use crate::call;
use crate::command::{BatchMode, Command, Op};
use crate::effect::Effect;
use crate::inbox::{By, Standing, check_age, decided, standing};
use crate::lease;
use crate::ledger::{Denial, Stop, batch, capture, open, reverse, transfer, void};
use crate::machine::Machine;
use crate::record::{Body, Record};
use crate::refusal::{Code, RefusalOwned};
use crate::saga::{self, Notice};
use crate::topic::{TopicOp, letters, publish, subscribe};

/// What is there while an entry is applied.
pub(crate) struct Turn<'t, A> {
    pub(crate) machine: &'t mut Machine,
    pub(crate) archive: &'t mut A,
    pub(crate) scratch: &'t mut Scratch,
    pub(crate) position: Position,
    pub(crate) stamp: Stamp,
    /// Of the command at hand.
    pub(crate) waited_us: u32,
    /// When whoever sent the command at hand stops waiting.
    pub(crate) expires: Stamp,
}

/// Buffers that are used again and again, so that a transfer allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// The record that made the transfer at hand.
    pub(crate) original: Vec<u8>,
    pub(crate) ordinals: Vec<u64>,
    pub(crate) runs: Vec<u8>,
    pub(crate) exceptions: Vec<u8>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) ended: Vec<Ended>,
    /// The subscriptions that the outbox is to look at after this entry.
    pub(crate) woken: BTreeSet<u64>,
    pub(crate) notices: Vec<Notice>,
    /// How many chunks of topics may still be forgotten in this entry.
    pub(crate) forgets_left: u32,
}

impl<'a> By<'a> {
    /// The record of what was decided under this key.
    #[inline]
    pub(crate) const fn record<'r>(&self, position: Position, stamp: Stamp, body: Body<'r>) -> Record<'r>
    where
        'a: 'r,
    {
        let Self { principal, key, fingerprint, waited_us, .. } = *self;
        Record { position, stamp, principal, key, fingerprint, waited_us, body }
    }
}

impl<A: Archive> Turn<'_, A> {
    /// Decides a command that is named by a key, or a stream of them.
    #[inline]
    pub(crate) fn command(&mut self, command: &Command<'_>, out: &mut Applied) -> Result<Verdict, ApplyError> {
        self.waited_us = command.waited_us;
        self.expires = command.expires;
        if command.expires < self.stamp {
            return Ok(refused(RefusalOwned { code: Code::DeadlineExceeded, about: "".into(), had: 0, wanted: 0 }));
        }
        if let Op::Batch { mode: BatchMode::Stream, items } = &command.op {
            return batch::stream(self, command, items, out).map_err(|stop| match stop {
                Stop::Broken(error) => error,
                Stop::Denied(_) => unreachable!("a stream answers item by item"),
            });
        }
        let by = By {
            principal: command.principal,
            key: command.key,
            name: self.machine.names.operation(command.principal, command.key),
            fingerprint: command.fingerprint(),
            waited_us: command.waited_us,
        };
        let verdict = match command.op {
            Op::Settle => self.settle(&by),
            _ => self.decide(&by, &command.op),
        };
        self.conclude(verdict, |_| by)
    }

    fn decide<'a>(&mut self, by: &By<'a>, op: &Op<'a>) -> Result<Verdict, Stop<'a>> {
        match standing(self, by)? {
            Standing::Decided(ordinal) => return Ok(Verdict::Replayed { ordinal }),
            Standing::Pending(ordinal) => return self.pending(ordinal),
            Standing::New => {}
        }
        let ordinal = match *op {
            Op::Transfer(ref order) => transfer::decide(self, by, order)?,
            Op::OpenAccount(asked) => open::decide(self, by, asked)?,
            Op::Capture { transfer, amount } => capture::decide(self, by, transfer, amount)?,
            Op::Void { transfer } => void::decide(self, by, transfer)?,
            Op::Reverse { transfer, amount } => reverse::decide(self, by, transfer, amount)?,
            Op::Batch { mode, ref items } => batch::decide(self, by, mode, items)?,
            Op::Call(ref order) => {
                return Ok(Verdict::Pending {
                    ordinal: call::accept::accept(self, by, order, None, call::Undoes::Nothing, 1),
                });
            }
            Op::Resolve(ref resolved) => call::resolve::decide(self, by, resolved)?,
            Op::Topic(ref asked) => self.topic(by, asked)?,
            Op::Saga(ref op) => {
                let (ordinal, is_pending) = saga::decide(self, by, op)?;
                return Ok(if is_pending { Verdict::Pending { ordinal } } else { Verdict::Decided { ordinal } });
            }
            Op::Lease(ref op) => {
                let (ordinal, is_pending) = lease::decide(self, by, op)?;
                return Ok(if is_pending { Verdict::Pending { ordinal } } else { Verdict::Decided { ordinal } });
            }
            Op::Claim { .. } | Op::HandOver { .. } | Op::Configure { .. } | Op::Settle | Op::Tried(_) => {
                unreachable!("decided before, under no key")
            }
        };
        Ok(Verdict::Decided { ordinal })
    }

    fn topic<'a>(&mut self, by: &By<'a>, asked: &TopicOp<'a>) -> Result<u64, Stop<'a>> {
        match *asked {
            TopicOp::Publish { topic, ref messages } => publish::decide(self, by, topic, messages),
            TopicOp::Keep { topic, retention } => subscribe::keep(self, by, topic, retention),
            TopicOp::Subscribe { name, ref settings, start } => subscribe::subscribe(self, by, name, settings, start),
            TopicOp::Unsubscribe { name } => subscribe::unsubscribe(self, by, name),
            TopicOp::Acknowledge { name, offset } => subscribe::acknowledge(self, by, name, offset),
            TopicOp::Letters { name, offset, replay } => letters::decide(self, by, name, offset, replay),
            TopicOp::Delivered(_) => unreachable!("decided before, under no key"),
        }
    }

    /// Makes the key definite, whatever was or was not asked under it. A key too old to know is refused as it would be for
    /// its operation, which will never run again: to bar it would be to say that it never did.
    fn settle<'a>(&mut self, by: &By<'a>) -> Result<Verdict, Stop<'a>> {
        match decided(self, by)? {
            Some((ordinal, decision)) if decision.is_pending => return self.pending(ordinal),
            Some((ordinal, _)) => return Ok(Verdict::Replayed { ordinal }),
            None => {}
        }
        check_age(self, by)?;
        let by = By { fingerprint: Fingerprint::from_bytes([0; 16]), ..*by };
        let marks = Marks { operation: Some(by.name), ..Marks::default() };
        Ok(Verdict::Decided { ordinal: self.write(&by, Body::Barred, marks) })
    }

    /// The verdict of what the record `ordinal` says is pending. A run that was restarted is still the one that was started.
    fn pending<'a>(&self, ordinal: u64) -> Result<Verdict, Stop<'a>> {
        let mut since = Ok(None);
        self.archive.read(ordinal, &mut |bytes| {
            since = Record::decode(bytes).map(|record| record.body.pending_since(ordinal));
        })?;
        Ok(Verdict::Pending { ordinal: since?.unwrap_or(ordinal) })
    }

    /// The verdict of what was decided; a refusal that is remembered is written down under the key it was asked under.
    #[inline]
    pub(crate) fn conclude<'a>(
        &mut self,
        decided: Result<Verdict, Stop<'a>>,
        by: impl FnOnce(&Self) -> By<'a>,
    ) -> Result<Verdict, ApplyError> {
        match decided {
            Ok(verdict) => Ok(verdict),
            Err(Stop::Broken(error)) => Err(error),
            Err(Stop::Denied(denial)) if denial.code.is_remembered() => {
                let by = by(self);
                Ok(Verdict::Decided { ordinal: self.write_denial(&by, &denial, None) })
            }
            Err(Stop::Denied(denial)) => Ok(denial.spell(&self.machine.accounts, |refusal| refused(refusal.into()))),
        }
    }

    /// Writes a refusal; `item` says which item refused a whole batch, and its key.
    pub(crate) fn write_denial(&mut self, by: &By<'_>, denial: &Denial<'_>, item: Option<(u64, &str)>) -> u64 {
        let (position, stamp) = (self.position, self.stamp);
        let marks = Marks { operation: Some(by.name), ..Marks::default() };
        let Self { machine: Machine { books, accounts, .. }, archive, .. } = self;
        denial.spell(accounts, |refusal| {
            let body = match item {
                Some((item, item_key)) => Body::BatchRefused { item, item_key, refusal },
                None => Body::Refused(refusal),
            };
            books.write(*archive, &by.record(position, stamp, body), marks)
        })
    }

    /// Writes a record and gives its ordinal.
    pub(crate) fn write(&mut self, by: &By<'_>, body: Body<'_>, marks: Marks) -> u64 {
        self.machine.books.write(self.archive, &by.record(self.position, self.stamp, body), marks)
    }

    /// Writes a record of what nobody asked for under a key.
    pub(crate) fn write_unnamed(&mut self, body: Body<'_>) -> u64 {
        self.write(&By::NOBODY, body, Marks::default())
    }
}

impl By<'static> {
    /// For what happens by itself.
    pub(crate) const NOBODY: Self =
        Self { principal: "", key: "", name: NameHash(0), fingerprint: Fingerprint::from_bytes([0; 16]), waited_us: 0 };
}

fn refused(refusal: RefusalOwned) -> Verdict {
    Verdict::Refused(Box::new(refusal))
}
