//! Reads: which state they are judged on, and what they wait for.
//!
//! Every acknowledged write has been applied before its answer left. Where nobody else can append to the log, the state at
//! hand is therefore the newest there is: a linearizable read needs no further proof. Where others can, it waits for one: an
//! append of this leader's own, begun after the read came, or a look at the log's tail. A session read waits only for a
//! position from elsewhere, and a read of the past finds the account's record at that position.

use machine::{Archive, Body, PAGE_BYTES_MAX, Record, SagaRecord, chain_link};
use words::{Position, Stamp};

use crate::api::{Account, Answer, Found, Level, Operation, Query, Read, ReadError, ReadReply, UncertainCall};
use crate::cell::Cell;
use crate::clock::Now;
use crate::fault::CellFault;
use crate::history::{History, Walk};
use crate::propose::operation_name;
use crate::waiting::{Until, Waiting};

/// How many attempts of an uncertain call are told, the newest.
const TRIED_MAX: usize = 20;

/// What can be said of a read now.
enum Judged {
    Answer(ReadReply),
    Wait { until: Until, deadline_us: u64 },
}

impl<W, R> Cell<W, R> {
    /// Answers a read now, or gives `None` and keeps it until [`Cell::wake_reads`] answers it.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn read(&mut self, read: Read, who: R, now: Now) -> Result<Option<(R, ReadReply)>, CellFault> {
        let asked_us = now.mono_us;
        let (until, deadline_us) = match self.judge(&read, asked_us, now)? {
            Judged::Answer(reply) => return Ok(Some((who, reply))),
            Judged::Wait { until, deadline_us } => (until, deadline_us),
        };
        if self.waiting.len() >= self.options.waiting_reads_max {
            return Ok(Some((who, self.reply_of(Err(ReadError::Overloaded), asked_us, now))));
        }
        self.waiting.add(Waiting { read, who, asked_us }, until, deadline_us);
        Ok(None)
    }

    /// Answers the reads whose position has come, whose operation is decided, whose event is there or whose time is over.
    /// Only these are looked at.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn wake_reads(&mut self, now: Now) -> Result<Vec<(R, ReadReply)>, CellFault> {
        let mut answered = Vec::new();
        if self.waiting.is_empty() {
            return Ok(answered);
        }
        self.waiting.wake_late(now.mono_us);
        self.waiting.wake_applied(self.machine.position().index);
        self.waiting.wake_proven(self.proven_us);
        let machine = &self.machine;
        if machine.next_ordinal() > self.events_seen {
            self.events_seen = machine.next_ordinal();
            self.waiting.wake_events(|until| match until {
                Until::Event { topic, .. } => machine.topic_end(topic),
                Until::Delivery { subscription, .. } => machine.subscription_end(subscription),
                Until::Index(_) | Until::Proof(_) | Until::Landed(_) | Until::Ended(_) => 0,
            });
        }
        if self.stopping {
            self.waiting.wake_all();
        }
        while let Some((number, waiting)) = self.waiting.take_woken() {
            match self.judge(&waiting.read, waiting.asked_us, now)? {
                Judged::Answer(reply) => answered.push((waiting.who, reply)),
                Judged::Wait { until, deadline_us } => self.waiting.put(number, waiting, until, deadline_us),
            }
        }
        Ok(answered)
    }

    /// Whether reads wait.
    pub fn has_waiting_reads(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// In how many microseconds the time of a read that waits is over.
    pub fn reads_due_in_us(&self, now: Now) -> Option<u64> {
        self.waiting.due_us().map(|due_us| due_us.saturating_sub(now.mono_us))
    }

    fn judge(&self, read: &Read, asked_us: u64, now: Now) -> Result<Judged, CellFault> {
        let applied = self.machine.position();
        let wanted = match read.level {
            Level::Session(position) | Level::At(position) => position,
            Level::Linearizable | Level::Bounded { .. } | Level::Eventual => Position::START,
        };
        if wanted.index > applied.index {
            if read.deadline_us > now.mono_us && !self.stopping {
                return Ok(Judged::Wait { until: Until::Index(wanted.index), deadline_us: read.deadline_us });
            }
            let late = if self.stopping { ReadError::Stopping } else { ReadError::Unavailable { applied } };
            return Ok(Judged::Answer(self.reply_of(Err(late), asked_us, now)));
        }
        let stale_ms_max = match read.level {
            Level::Linearizable => Some(0),
            Level::Bounded { ms } => Some(ms),
            Level::Session(_) | Level::At(_) | Level::Eventual => None,
        };
        if stale_ms_max.is_some_and(|max| self.staleness_ms(asked_us, now) > max) {
            if read.deadline_us > now.mono_us && !self.stopping {
                return Ok(Judged::Wait { until: Until::Proof(asked_us), deadline_us: read.deadline_us });
            }
            let late = if self.stopping { ReadError::Stopping } else { ReadError::Unavailable { applied } };
            return Ok(Judged::Answer(self.reply_of(Err(late), asked_us, now)));
        }
        if let Query::Operation { principal, key, wait_until_us: Some(until_us) } = &read.query {
            let deadline_us = (*until_us).min(read.deadline_us);
            if deadline_us > now.mono_us
                && !self.stopping
                && let Some(until) = self.why_undecided(principal, key)?
            {
                return Ok(Judged::Wait { until, deadline_us });
            }
        }
        if let Query::Sagas(query) = &read.query
            && let Some((run, until_us)) = query.waits()
        {
            let deadline_us = until_us.min(read.deadline_us);
            if deadline_us > now.mono_us
                && !self.stopping
                && let Some(run) = self.open_run(run)
            {
                return Ok(Judged::Wait { until: Until::Ended(run), deadline_us });
            }
        }
        let found = self.find(read)?;
        if let (Query::Topics(query), Ok(Found::Topics(topics))) = (&read.query, &found)
            && let Some(next) = topics.nothing_before()
            && let Some((wait_until_us, until)) = query.until(next)
        {
            let deadline_us = wait_until_us.min(read.deadline_us);
            if deadline_us > now.mono_us && !self.stopping {
                return Ok(Judged::Wait { until, deadline_us });
            }
        }
        let mut reply = self.reply_of(found, asked_us, now);
        if let Level::At(position) = read.level {
            reply.position = position;
        }
        Ok(Judged::Answer(reply))
    }

    fn reply_of(&self, found: Result<Found, ReadError>, asked_us: u64, now: Now) -> ReadReply {
        ReadReply { position: self.machine.position(), staleness_ms: self.staleness_ms(asked_us, now), found }
    }

    /// How old the state at hand may be, to somebody who came at `asked_us`: 0 if nothing had been acknowledged by then that is
    /// not in it.
    fn staleness_ms(&self, asked_us: u64, now: Now) -> u64 {
        if !self.options.log_is_shared || self.proven_us >= asked_us {
            return 0;
        }
        now.mono_us.saturating_sub(self.proven_us).div_ceil(1_000).max(1)
    }

    /// When the newest of the reads came that wait for a proof that this cell leads, if any does.
    pub fn wants_proof_since_us(&self) -> Option<u64> {
        self.waiting.wants_proof_since_us()
    }

    /// Nobody else led at that instant of the monotonic clock: the log's tail, asked for after it, was this cell's own.
    pub fn prove(&mut self, asked_us: u64) {
        self.proven_us = self.proven_us.max(asked_us);
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
                let (calls, next) = self.uncertain(*after, *limit)?;
                Ok(Ok(Found::Uncertain { calls, next }))
            }
            Query::Topics(query) => Ok(self.find_in_topics(query)?.map(Found::Topics)),
            Query::Sagas(query) => Ok(self.find_in_sagas(query)?.map(Found::Sagas)),
            Query::Leases(query) => Ok(Ok(Found::Leases(self.find_in_leases(query)))),
        }
    }

    /// What a key that is not decided waits for; `None` if it is decided, or nobody has asked under it.
    fn why_undecided(&self, principal: &str, key: &str) -> Result<Option<Until>, CellFault> {
        let name = operation_name(self.hash_seed, principal, key);
        if self.inflight.contains_key(&name) {
            return Ok(Some(Until::Landed(name)));
        }
        let found = self.machine.find_operation(principal, key, self.machine.stamp(), &self.archive)?;
        let Some(ordinal) = found else { return Ok(None) };
        let mut until = Ok(None);
        self.archive.read(ordinal, &mut |bytes| {
            until = Record::decode(bytes).map(|record| match record.body {
                Body::Saga(SagaRecord::Restarted { run, .. }) => Some(Until::Ended(run)),
                body => body.is_pending().then_some(Until::Ended(ordinal)),
            });
        })?;
        Ok(until?)
    }

    /// A page of uncertain calls, and after which the next one begins.
    #[allow(clippy::type_complexity, reason = "a page and its cursor, used once")]
    fn uncertain(
        &self,
        after: (Stamp, u64),
        limit: usize,
    ) -> Result<(Vec<UncertainCall>, Option<(Stamp, u64)>), CellFault> {
        let (mut calls, mut bytes, mut last) = (Vec::new(), 0, after);
        // Each has been uncertain since some stamp, or it would not be listed.
        for view in self.machine.uncertain(after, limit.saturating_add(1)) {
            if calls.len() == limit || bytes >= PAGE_BYTES_MAX {
                return Ok((calls, Some(last)));
            }
            last = (view.uncertain_since.unwrap_or_default(), view.call);
            let call = self.uncertain_call(view)?;
            bytes += call.accepted.len() + call.tried.iter().map(Vec::len).sum::<usize>();
            calls.push(call);
        }
        Ok((calls, None))
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
        let record = answer.first().map(|part| part.record()).transpose()?.flatten();
        let expires_at = self.key_expires(record.map(|record| record.stamp).unwrap_or_default());
        let received_at = record.map(|record| self.received(&record)).transpose()?.unwrap_or_default();
        let note = self.notes.get(&operation_name(self.hash_seed, principal, key)).copied().unwrap_or_default();
        let (replays, joins) = (u64::from(note.replays), u64::from(note.joins));
        Ok(Ok(Found::Operation(Operation { answer, replays, joins, received_at, expires_at })))
    }

    /// When the request came in whose answer the record is. What was accepted first came in before its acceptance.
    fn received(&self, record: &Record<'_>) -> Result<Stamp, CellFault> {
        let began = match record.body {
            Body::CallEnded(ended) => Some(ended.call),
            Body::Saga(SagaRecord::Ended { run, .. } | SagaRecord::Restarted { run, .. }) => Some(run),
            Body::Lease(lease) => lease.began(),
            _ => None,
        };
        let Some(began) = began else { return Ok(received_at(record)) };
        let mut received = Ok(Stamp::ZERO);
        self.archive.read(began, &mut |bytes| received = Record::decode(bytes).map(|record| received_at(&record)))?;
        Ok(received?)
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
        let mut start = Some(account.head);
        if let Some(to) = to {
            // The first record stamped at or after `to` bounds where the walk may begin.
            let bound = self.first_ordinal(|record| record.stamp >= to)?;
            start = self.newest_before(id, account.head, bound)?;
        }
        if let Some(ordinal) = before {
            // A cursor is a place in this account's chain; one that is not is no cursor of ours.
            if !self.is_history_of(id, ordinal)? {
                return Ok(Err(ReadError::NotRetained));
            }
            start = start.map(|start| start.min(ordinal));
        }
        let walk = Walk::new(id, start, from..to, limit);
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

    /// The newest record of the account's history below `bound`, found through the archive's indexes; `None` if there is none:
    /// the account was opened later.
    fn newest_before(&self, id: &str, head: u64, bound: u64) -> Result<Option<u64>, CellFault> {
        if head < bound {
            return Ok(Some(head));
        }
        let Some(newest) = bound.checked_sub(1) else { return Ok(None) };
        let name = self.machine.hash_account(id);
        let mut is_shared = false;
        let found = match self.archive.newest_touched_in_memory(name, newest) {
            Some(ordinal) => Some(ordinal),
            None => self.archive.view().newest_touched_at_or_before(name, newest, &mut |_, bytes| {
                let link = Record::decode(bytes).ok().and_then(|record| chain_link(&record, id));
                is_shared |= link.is_none();
                link.and_then(|link| link.previous)
            })?,
        };
        if let Some(ordinal) = found {
            is_shared |= !self.is_history_of(id, ordinal)?;
        }
        // Another account shares the hash, which no input can bring about: then the long way.
        Ok(if is_shared { Some(head) } else { found })
    }

    /// The account as it stood after the entry at `position`: its newest record at or before it says so.
    fn account_at(&self, id: &str, position: Position) -> Result<Result<Found, ReadError>, CellFault> {
        let Some(account) = self.machine.account(id) else { return Ok(Err(ReadError::AccountNotFound)) };
        if position.epoch > self.machine.epoch() {
            return Ok(Err(ReadError::NotRetained));
        }
        let bound = self.first_ordinal(|record| record.position.index > position.index)?;
        let after = match self.newest_before(id, account.head, bound)? {
            Some(start) => machine::account_at(&self.archive, id, start, position)?,
            None => None,
        };
        let Some(after) = after else { return Ok(Err(ReadError::AccountNotFound)) };
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

fn received_at(record: &Record<'_>) -> Stamp {
    record.stamp.minus_micros(u64::from(record.waited_us))
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

#[cfg(test)]
mod tests;
