//! The witness: another machine that applies the same log and tells what each answer should have been.

use hashbrown::HashMap;
use machine::{Applied, Archive, Body, Entry, Event, Machine, MemoryArchive, Op, Record, SagaRecord};
use words::{CellName, Fingerprint, Stamp};

use crate::calls::{CallLog, When};
use crate::check::{Ledger, ReadSeen};
use crate::events::EventLog;
use crate::leases::LeaseLog;
use crate::runs::RunLog;

/// What the log says of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    pub(crate) index: u64,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_bar: bool,
    /// Accepted, and its end still to come.
    pub(crate) is_pending: bool,
}

/// A replayed log.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) archive: MemoryArchive,
    pub(crate) by_key: HashMap<String, Decision>,
    pub(crate) calls: CallLog,
    pub(crate) runs: RunLog,
    pub(crate) events: EventLog,
    pub(crate) leases: LeaseLog,
    /// An attempt was given up although its leader still led.
    pub(crate) attempt_unreported: bool,
}

struct Replay<'a> {
    ledger: &'a Ledger,
    machine: Machine,
    archive: MemoryArchive,
    by_key: HashMap<String, Decision>,
    calls: CallLog,
    runs: RunLog,
    events: EventLog,
    leases: LeaseLog,
    attempt_unreported: bool,
    held: HashMap<u128, (u64, u64)>,
}

impl Witness {
    /// Applies the log, entry by entry, and checks at each what can be checked there: money is conserved, digests and
    /// reads agree, holds expire once and never early.
    pub(crate) fn replay(ledger: &Ledger) -> Result<Self, String> {
        let cell = CellName::new("main").expect("a cell's name");
        let mut replay = Replay {
            ledger,
            machine: Machine::new(&cell, 7),
            archive: MemoryArchive::default(),
            by_key: HashMap::new(),
            calls: CallLog::default(),
            runs: RunLog::default(),
            events: EventLog::default(),
            leases: LeaseLog::default(),
            attempt_unreported: false,
            held: HashMap::new(),
        };
        let mut reads: Vec<&ReadSeen> = ledger.reads.iter().collect();
        reads.sort_by_key(|read| read.position.index);
        let mut reads = reads.into_iter().peekable();
        let mut applied = Applied::default();
        for logged in &ledger.log {
            let first = replay.archive.next_ordinal();
            replay
                .machine
                .apply(logged.position, &logged.entry, &mut replay.archive, &mut applied)
                .map_err(|error| format!("entry {} cannot be applied: {error}", logged.position))?;
            replay.check_money(logged.position.index)?;
            replay.check_digest(logged.position.index)?;
            for ordinal in first..replay.archive.next_ordinal() {
                replay.note_record(ordinal, logged.position.index, logged.begun_us)?;
            }
            while let Some(read) = reads.next_if(|read| read.position.index == logged.position.index) {
                replay.check_read(read)?;
            }
        }
        if let Some(read) = reads.next() {
            return Err(format!("a read of `{}` saw entry {}, which is not in the log", read.account, read.position));
        }
        let Replay { archive, by_key, calls, runs, events, leases, attempt_unreported, .. } = replay;
        Ok(Self { archive, by_key, calls, runs, events, leases, attempt_unreported })
    }
}

impl Replay<'_> {
    fn check_money(&self, index: u64) -> Result<(), String> {
        let page = self.machine.accounts(0, 1_000, None);
        let sum: i128 = page.items.iter().map(|account| account.balance).sum();
        let negative = page.items.iter().find(|a| a.floor.is_some_and(|floor| a.balance - a.held < floor));
        match (sum, negative) {
            (0, None) => Ok(()),
            (0, Some(account)) => Err(format!("after entry {index} `{}` is below its floor", account.id)),
            (sum, _) => Err(format!("after entry {index} the balances add up to {sum}")),
        }
    }

    fn check_digest(&self, index: u64) -> Result<(), String> {
        match self.ledger.digests.get(&index) {
            Some(digest) if *digest != self.machine.digest() => Err(format!(
                "after entry {index} the server's digest is {digest:x}, the log's {:x}",
                self.machine.digest()
            )),
            _ => Ok(()),
        }
    }

    fn note_record(&mut self, ordinal: u64, index: u64, begun_us: u64) -> Result<(), String> {
        let mut bytes = Vec::new();
        self.archive.read(ordinal, &mut |record| bytes.extend_from_slice(record)).map_err(|fault| fault.to_string())?;
        let record = Record::decode(&bytes).map_err(|error| error.to_string())?;
        let when = When { index, stamp: record.stamp, time_us: begun_us };
        self.calls.note(ordinal, when, &record)?;
        self.runs.note(ordinal, when, &record, &self.machine, &self.ledger.runs_asked)?;
        self.events.note(ordinal, when, &record)?;
        self.leases.note(ordinal, &record)?;
        // An event bears the key of what published it.
        let is_event = matches!(record.body, Body::Topic(machine::TopicRecord::Published { .. }));
        if !record.key.is_empty() && !is_event {
            self.note_decision(&record, index)?;
        }
        if let Body::CallTried(tried) = record.body {
            self.attempt_unreported |= tried.evidence.starts_with("whoever tried") && !self.is_claim(index);
        }
        let Body::Moved(moved) = record.body else { return Ok(()) };
        let id = u128::from_be_bytes(moved.transfer.to_bytes());
        match moved.event {
            Event::Held => {
                let held_us = moved.hold_until.map_or(0, Stamp::micros).saturating_sub(record.stamp.micros());
                self.held.insert(id, (begun_us, held_us));
            }
            Event::Captured | Event::Voided | Event::Expired => {
                let Some((since_us, held_us)) = self.held.remove(&id) else {
                    return Err(format!("the hold of {} ended twice", moved.transfer));
                };
                let lasted_us = begun_us - since_us;
                // The clock may be drawn towards a jumped wall clock by 5%, and its drift is below 1%.
                let least_us = held_us - held_us * 7 / 100;
                if moved.event == Event::Expired && lasted_us < least_us && !self.ledger.clock_was_rebased {
                    return Err(format!("the hold of {} expired after {lasted_us} us of {held_us}", moved.transfer));
                }
            }
            Event::Posted | Event::Reversal => {}
        }
        Ok(())
    }

    /// Each key is decided once: at once, or accepted first and ended later.
    fn note_decision(&mut self, record: &Record<'_>, index: u64) -> Result<(), String> {
        let is_bar = matches!(record.body, Body::Barred);
        let is_pending = record.body.is_pending();
        let fingerprint = record.fingerprint;
        let Some(first) = self.by_key.get_mut(record.key) else {
            let decision = Decision { index, fingerprint, is_bar, is_pending };
            self.by_key.insert(record.key.to_owned(), decision);
            return Ok(());
        };
        let is_same = first.fingerprint == fingerprint;
        let is_end = match record.body {
            Body::CallEnded(_) | Body::Saga(SagaRecord::Ended { .. }) => true,
            Body::Lease(lease) => lease.began().is_some(),
            _ => false,
        };
        if is_end && is_same && std::mem::take(&mut first.is_pending) {
            return Ok(());
        }
        // A step or a run that goes on; what it may and may not do is looked at where runs and calls are.
        let goes_on = match record.body {
            Body::CallAccepted(call) => call.owner.is_some(),
            Body::Saga(SagaRecord::Restarted { .. }) => true,
            Body::Saga(SagaRecord::Started { parent, .. }) => parent.is_some(),
            _ => false,
        };
        if goes_on && is_same && !std::mem::replace(&mut first.is_pending, true) {
            return Ok(());
        }
        Err(format!("`{}` was decided twice, in entries {} and {index}", record.key, first.index))
    }

    fn is_claim(&self, index: u64) -> bool {
        let entry = Entry::decode(&self.ledger.log[index as usize - 1].entry).expect("it was applied");
        entry.commands().flatten().any(|command| matches!(command.op, Op::Claim { .. }))
    }

    fn check_read(&self, read: &ReadSeen) -> Result<(), String> {
        let truth = self.machine.account(&read.account);
        let truth = truth.as_ref().map(|a| (a.balance, a.held, a.version));
        let found = read.found.as_ref().ok().map(|a| (a.balance, a.held, a.version));
        if truth == found {
            return Ok(());
        }
        Err(format!("a read of `{}` at {} found {found:?}, the log says {truth:?}", read.account, read.position))
    }
}
