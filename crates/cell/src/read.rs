//! Reads: which state they are judged on, and what they wait for.
//!
//! On one node every acknowledged write has been applied before its answer left, so the state at hand is always the newest
//! there is: a linearizable read needs no further proof, a session read waits only for a position from elsewhere, and a
//! read of the past finds the account's record at that position.

use machine::{Archive, Body, Record, chain_link};
use words::{Position, Stamp};

use crate::api::{Account, Answer, Found, Level, Operation, Query, Read, ReadError, ReadReply, UncertainCall};
use crate::cell::Cell;
use crate::clock::Now;
use crate::fault::CellFault;
use crate::history::{History, Walk};
use crate::propose::operation_name;

/// How many attempts of an uncertain call are told, the newest.
const TRIED_MAX: usize = 20;

/// A read that waits for a position or for an operation.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    read: Read,
    who: R,
}

impl<W, R> Cell<W, R> {
    /// Answers a read now, or gives `None` and keeps it until [`Cell::wake_reads`] answers it.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn read(&mut self, read: Read, who: R, now: Now) -> Result<Option<(R, ReadReply)>, CellFault> {
        if let Some(reply) = self.try_read(&read, now)? {
            return Ok(Some((who, reply)));
        }
        if self.waiting.len() >= self.options.waiting_reads_max {
            return Ok(Some((who, self.reply_of(Err(ReadError::Overloaded)))));
        }
        self.waiting.push(Waiting { read, who });
        Ok(None)
    }

    /// Answers the reads whose position has come, whose operation is decided or whose time is over.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn wake_reads(&mut self, now: Now) -> Result<Vec<(R, ReadReply)>, CellFault> {
        let mut woken = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            match self.try_read(&waiting.read, now)? {
                Some(reply) => woken.push((waiting.who, reply)),
                None => self.waiting.push(waiting),
            }
        }
        Ok(woken)
    }

    /// Whether reads wait.
    pub fn has_waiting_reads(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn try_read(&self, read: &Read, now: Now) -> Result<Option<ReadReply>, CellFault> {
        let applied = self.machine.position();
        let wanted = match read.level {
            Level::Session(position) | Level::At(position) => position,
            Level::Linearizable | Level::Bounded { .. } | Level::Eventual => Position::START,
        };
        if wanted.index > applied.index {
            let is_over = read.deadline_us <= now.mono_us;
            let late = if self.stopping { ReadError::Stopping } else { ReadError::Unavailable { applied } };
            return Ok((is_over || self.stopping).then(|| self.reply_of(Err(late))));
        }
        if let Query::Operation { principal, key, wait_until_us: Some(until_us) } = &read.query {
            let is_in_flight = self.inflight.contains_key(&operation_name(self.hash_seed, principal, key));
            let has_time = now.mono_us < (*until_us).min(read.deadline_us) && !self.stopping;
            if has_time && (is_in_flight || self.is_pending(principal, key)?) {
                return Ok(None);
            }
        }
        if let Query::Sagas(query) = &read.query
            && let Some((run, until_us)) = query.waits()
        {
            let has_time = now.mono_us < until_us.min(read.deadline_us) && !self.stopping;
            if has_time && self.is_run_open(run) {
                return Ok(None);
            }
        }
        let found = self.find(read)?;
        if let (Query::Topics(query), Ok(Found::Topics(topics))) = (&read.query, &found) {
            let until_us = query.wait_until_us().map_or(0, |until_us| until_us.min(read.deadline_us));
            if topics.is_nothing_yet() && now.mono_us < until_us && !self.stopping {
                return Ok(None);
            }
        }
        let mut reply = self.reply_of(found);
        if let Level::At(position) = read.level {
            reply.position = position;
        }
        Ok(Some(reply))
    }

    fn reply_of(&self, found: Result<Found, ReadError>) -> ReadReply {
        ReadReply { position: self.machine.position(), staleness_ms: 0, found }
    }

    fn find(&self, read: &Read) -> Result<Result<Found, ReadError>, CellFault> {
        match &read.query {
            Query::Account { id } => match read.level {
                Level::At(position) => self.account_at(id, position),
                _ => Ok(self.account_now(id).map(Found::Account).ok_or(ReadError::AccountNotFound)),
            },
            Query::Accounts { from_slot, limit, unit } => {
                let page = self.machine.accounts(*from_slot, *limit, unit.as_deref());
                let items = page.items.iter().map(account_of).collect();
                Ok(Ok(Found::Accounts { items, next: page.next }))
            }
            Query::History { id, before, from, to, limit } => self.history(id, *before, *from, *to, *limit),
            Query::Transfer { id } => match self.machine.transfer_now(*id, &self.archive)? {
                Some(ordinal) => {
                    let mut answer = Answer::default();
                    self.collect(ordinal, false, &mut answer)?;
                    Ok(Ok(Found::Transfer(answer)))
                }
                None => Ok(Err(ReadError::TransferNotFound)),
            },
            Query::Operation { principal, key, .. } => self.operation(principal, key),
            Query::Uncertain { after, limit } => {
                let views = self.machine.uncertain(*after, *limit);
                let calls = views.into_iter().map(|view| self.uncertain_call(view)).collect::<Result<_, _>>()?;
                Ok(Ok(Found::Uncertain(calls)))
            }
            Query::Topics(query) => Ok(self.find_in_topics(query)?.map(Found::Topics)),
            Query::Sagas(query) => Ok(self.find_in_sagas(query)?.map(Found::Sagas)),
        }
    }

    fn is_pending(&self, principal: &str, key: &str) -> Result<bool, CellFault> {
        let found = self.machine.find_operation(principal, key, self.machine.stamp(), &self.archive)?;
        let Some(ordinal) = found else { return Ok(false) };
        let mut answer = Answer::default();
        self.collect(ordinal, true, &mut answer)?;
        Ok(answer.is_pending()?)
    }

    /// A call with its newest attempts.
    fn uncertain_call(&self, view: machine::CallView) -> Result<UncertainCall, CellFault> {
        let read = |ordinal| {
            let mut record = Vec::new();
            self.archive.read(ordinal, &mut |bytes| record.extend_from_slice(bytes)).map(|()| record)
        };
        let (mut tried, mut at) = (Vec::new(), view.newest);
        while at != view.call && tried.len() < TRIED_MAX {
            let record = read(at)?;
            let Body::CallTried(body) = Record::decode(&record)?.body else { break };
            at = body.previous;
            tried.push(record);
        }
        tried.reverse();
        Ok(UncertainCall { view, accepted: read(view.call)?, tried })
    }

    fn account_now(&self, id: &str) -> Option<Account> {
        self.machine.account(id).as_ref().map(account_of)
    }

    fn operation(&self, principal: &str, key: &str) -> Result<Result<Found, ReadError>, CellFault> {
        let at = self.machine.stamp();
        let Some(ordinal) = self.machine.find_operation(principal, key, at, &self.archive)? else {
            return Ok(Err(ReadError::OperationUnknown));
        };
        let mut answer = Answer::default();
        self.collect(ordinal, true, &mut answer)?;
        let stamp = answer.first().map(|part| part.record()).transpose()?.flatten().map(|record| record.stamp);
        let expires_at = self.key_expires(stamp.unwrap_or_default());
        let note = self.notes.get(&operation_name(self.hash_seed, principal, key)).copied().unwrap_or_default();
        let (replays, joins) = (u64::from(note.replays), u64::from(note.joins));
        Ok(Ok(Found::Operation(Operation { answer, replays, joins, expires_at })))
    }

    fn history(
        &self,
        id: &str,
        before: Option<u64>,
        from: Option<Stamp>,
        to: Option<Stamp>,
        limit: usize,
    ) -> Result<Result<Found, ReadError>, CellFault> {
        let Some(account) = self.machine.account(id) else { return Ok(Err(ReadError::AccountNotFound)) };
        let mut start = account.head;
        if let Some(to) = to {
            // The first record stamped at or after `to` bounds where the walk may begin.
            let bound = self.first_ordinal(|record| record.stamp >= to)?;
            start = self.newest_before(id, start, bound)?;
        }
        let start = match before {
            // A cursor is a place in this account's chain; one that is not is no cursor of ours.
            Some(ordinal) if !self.is_history_of(id, ordinal)? => return Ok(Err(ReadError::NotRetained)),
            Some(ordinal) => start.min(ordinal),
            None => start,
        };
        let walk = Walk { account: id.to_owned(), at: Some(start), from, to, left: limit };
        Ok(Ok(Found::History(History::start(walk, &self.archive)?)))
    }

    fn is_history_of(&self, id: &str, ordinal: u64) -> Result<bool, CellFault> {
        if ordinal >= self.archive.next_ordinal() {
            return Ok(false);
        }
        let mut is_history = false;
        self.archive.read(ordinal, &mut |bytes| {
            is_history = Record::decode(bytes).is_ok_and(|record| chain_link(&record, id).is_some());
        })?;
        Ok(is_history)
    }

    /// A record of the account's history from which the newest one below `bound` is not far back, found through the
    /// archive's indexes; the account's newest of all where they know nothing.
    fn newest_before(&self, id: &str, head: u64, bound: u64) -> Result<u64, CellFault> {
        if head < bound || bound == 0 {
            return Ok(head);
        }
        let name = self.machine.hash_account(id);
        let in_memory = self.archive.newest_touched_in_memory(name, bound - 1);
        let found = match in_memory {
            Some(ordinal) => Some(ordinal),
            None => self.archive.view().newest_touched_at_or_before(name, bound - 1, &mut |_, bytes| {
                Record::decode(bytes).ok().and_then(|record| chain_link(&record, id)).and_then(|link| link.previous)
            })?,
        };
        // Another account may share the hash: then the long way.
        match found {
            Some(ordinal) if self.is_history_of(id, ordinal)? => Ok(ordinal),
            _ => Ok(head),
        }
    }

    /// The account as it stood after the entry at `position`: its newest record at or before it says so.
    fn account_at(&self, id: &str, position: Position) -> Result<Result<Found, ReadError>, CellFault> {
        let Some(account) = self.machine.account(id) else { return Ok(Err(ReadError::AccountNotFound)) };
        if position.epoch > self.machine.epoch() {
            return Ok(Err(ReadError::NotRetained));
        }
        let bound = self.first_ordinal(|record| record.position.index > position.index)?;
        let start = self.newest_before(id, account.head, bound)?;
        let Some(after) = machine::account_at(&self.archive, id, start, position)? else {
            return Ok(Err(ReadError::AccountNotFound));
        };
        let (balance, held, version) = (after.balance, after.held, after.version);
        Ok(Ok(Found::Account(Account { balance, held, version, ..account_of(&account) })))
    }

    /// The first ordinal whose record is past what is sought. Records are in the order of positions and of stamps, so
    /// that bisection finds it.
    fn first_ordinal(&self, is_past: impl Fn(&Record<'_>) -> bool) -> Result<u64, CellFault> {
        let (mut low, mut high) = (0, self.archive.next_ordinal());
        while low < high {
            let middle = low + (high - low) / 2;
            let mut past = Ok(false);
            self.archive.read(middle, &mut |bytes| past = Record::decode(bytes).map(|record| is_past(&record)))?;
            if past? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

fn account_of(view: &machine::AccountView<'_>) -> Account {
    Account {
        id: view.id.to_owned(),
        unit: view.unit.to_owned(),
        floor: view.floor,
        balance: view.balance,
        held: view.held,
        metadata: view.metadata.to_owned(),
        created: view.created,
        version: view.version,
    }
}
