//! One subscription: what was delivered, what waits to be tried again, and what was given up.
//!
//! Everything below `next` is done, wanted by nobody, or parked. Beyond it, what is done out of turn is noted one by one. An
//! event that could not be delivered is *parked*, and with it the later ones of its key, which wait behind it: one bad
//! event stops its key and no other. What stays undeliverable becomes a *dead letter*, and its key goes on.
//!
//! What is under way is known to the outbox alone. If that is lost, all that is not noted here is delivered once more.

use std::collections::{BTreeMap, BTreeSet};

use words::Stamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};

use super::order::{Miss, MissedBecause, Report, Settings};

/// The most events that may be parked before no new ones are tried.
pub(crate) const PARKED_MAX: usize = 1_000;
/// The most events that may be done out of turn before no new ones are tried.
pub(crate) const DONE_MAX: usize = 10_000;
/// The most dead letters; one more pauses the subscription.
pub const DEAD_LETTERS_MAX: usize = 10_000;

/// How long after each failed attempt the next one comes, at most; after the last there is none. A day in all.
const RETRY_MS: [u64; 8] = [5_000, 60_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000];
/// The longest a receiver's `Retry-After` is followed, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 24 * 3_600_000;

/// A subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) name: Box<str>,
    settings: Box<[u8]>,
    pub(crate) generation: u64,
    pub(crate) next: u64,
    pub(crate) done: BTreeSet<u64>,
    parked: BTreeMap<u64, Parked>,
    /// The records of the dead letters, by offset.
    pub(crate) dead: BTreeMap<u64, u64>,
    /// Since when nothing succeeded.
    pub(crate) failing_since: Option<Stamp>,
    /// Whether it rests: because somebody asked for it, or because it had failed for too long.
    pub(crate) rests: Option<Rest>,
    /// How many events were delivered.
    pub(crate) delivered: u64,
    /// How many events their topics forgot before they were looked at, wanted or not.
    pub(crate) forgotten: u64,
    /// The parked events of each key that has one.
    queues: BTreeMap<Box<str>, BTreeSet<u64>>,
    due: BTreeSet<(Stamp, u64)>,
}

/// Why a subscription rests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Rest {
    /// Somebody asked for it.
    Asked = 1,
    /// Nothing succeeded for too long.
    Failing = 2,
    /// The receiver said that nobody is there any more.
    Gone = 3,
    /// There are as many dead letters as there may be.
    Full = 4,
}

/// A parked event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parked {
    pub(crate) key: Box<str>,
    /// How many attempts failed.
    pub(crate) attempts: u64,
    pub(crate) state: ParkedState,
}

/// What a parked event waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParkedState {
    /// Time.
    Waiting { due: Stamp },
    /// The outbox.
    Ready,
    /// An earlier event of its key.
    Behind,
}

/// What a report asks for beside what it changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consequences<'a> {
    /// What is given up.
    pub(crate) letters: Vec<(Miss<'a>, u64)>,
    /// Why the subscription is to rest, and on what evidence.
    pub(crate) rest: Option<(Rest, &'a str)>,
}

impl Subscription {
    pub(crate) fn new(name: &str, next: u64) -> Self {
        Self { name: name.into(), next, ..Self::default() }
    }

    /// Gives it settings; what was under way with the old ones is void.
    pub(crate) fn set(&mut self, settings: &Settings<'_>) {
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        self.settings = bytes.into();
        self.generation += 1;
        self.rests = settings.paused.then_some(Rest::Asked);
        self.failing_since = None;
    }

    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings::decode(&mut Reader::new(&self.settings)).expect("written by encode")
    }

    /// Begins again at an offset; what waited is looked at anew from there, or left out.
    pub(crate) fn seek(&mut self, next: u64) {
        self.next = next;
        self.done.clear();
        self.parked.clear();
        self.queues.clear();
        self.due.clear();
    }

    /// Whether it is waiting for the outbox to deliver.
    pub(crate) fn is_active(&self) -> bool {
        self.rests.is_none() && self.settings().is_push()
    }

    /// Whether new events may be looked at.
    pub(crate) fn has_room(&self) -> bool {
        self.parked.len() < PARKED_MAX && self.done.len() < DONE_MAX
    }

    pub(crate) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    /// When time alone moves it on.
    pub(crate) fn wakes(&self) -> Option<Stamp> {
        self.due.first().map(|(due, _)| *due).filter(|_| self.rests.is_none())
    }

    /// What may be tried again now: the first of its key, and not before its time.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (u64, &Parked)> + '_ {
        let is_ready = |(offset, parked): &(u64, &Parked)| {
            parked.state == ParkedState::Ready && !self.is_behind(*offset, &parked.key)
        };
        self.parked.iter().map(|(offset, parked)| (*offset, parked)).filter(is_ready)
    }

    /// Whether an event of that key has to wait behind an earlier one that is parked.
    pub(crate) fn is_behind(&self, offset: u64, key: &str) -> bool {
        self.queues.get(key).and_then(BTreeSet::first).is_some_and(|first| *first < offset)
    }

    /// Whether an event was dealt with: it is done, parked or dead.
    pub(crate) fn is_settled(&self, offset: u64) -> bool {
        self.done.contains(&offset) || self.parked.contains_key(&offset) || self.dead.contains_key(&offset)
    }

    /// Wakes what is due at `now`.
    pub(crate) fn wake(&mut self, now: Stamp) {
        while let Some((due, offset)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, offset));
            if let Some(parked) = self.parked.get_mut(&offset) {
                parked.state = ParkedState::Ready;
            }
        }
    }

    /// Takes in what came of deliveries. `number` is its own, `upcoming` the ordinal that no record has yet.
    pub(crate) fn take<'a>(
        &mut self,
        (number, upcoming): (u64, u64),
        report: &Report<'a>,
        now: Stamp,
    ) -> Consequences<'a> {
        let mut consequences = Consequences::default();
        for offset in report.done.iter() {
            self.note_done(offset);
        }
        for miss in report.missed.iter() {
            if self.is_settled(miss.offset) && !self.parked.contains_key(&miss.offset) {
                continue;
            }
            if miss.offset < self.next && !self.parked.contains_key(&miss.offset) {
                continue;
            }
            self.miss(number, &miss, now, &mut consequences);
        }
        self.advance(report.below.min(upcoming));
        if self.parked.is_empty() {
            // What was given up fails no more: silence after it is not failure.
            self.failing_since = None;
        }
        if let (Some(since), None) = (self.failing_since, consequences.rest) {
            if now >= since.plus_ms(self.settings().pause_after_ms) {
                let evidence = report.missed.iter().last().map_or("", |miss| miss.evidence);
                consequences.rest = Some((Rest::Failing, evidence));
            }
        }
        consequences
    }

    fn note_done(&mut self, offset: u64) {
        let was_parked = self.unpark(offset).is_some();
        let is_new = offset >= self.next && self.done.len() < 2 * DONE_MAX && self.done.insert(offset);
        self.delivered += u64::from(was_parked || is_new);
        self.failing_since = None;
    }

    fn miss<'a>(&mut self, number: u64, miss: &Miss<'a>, now: Stamp, consequences: &mut Consequences<'a>) {
        let attempts = self.unpark(miss.offset).map_or(0, |parked| parked.attempts);
        let (attempts, state) = match miss.why {
            MissedBecause::Behind if self.is_behind(miss.offset, miss.key) => (attempts, ParkedState::Behind),
            MissedBecause::Behind => (attempts, ParkedState::Ready),
            MissedBecause::Gone => {
                consequences.rest = Some((Rest::Gone, miss.evidence));
                (attempts, ParkedState::Ready)
            }
            MissedBecause::Failed => {
                self.failing_since = self.failing_since.or(Some(now));
                let is_full = self.dead.len() + consequences.letters.len() >= DEAD_LETTERS_MAX;
                let wait_ms = match retry_ms(number, miss.offset, attempts) {
                    Some(wait_ms) => wait_ms,
                    None if is_full => {
                        consequences.rest = Some((Rest::Full, miss.evidence));
                        RETRY_MS[RETRY_MS.len() - 1]
                    }
                    None => {
                        consequences.letters.push((*miss, attempts + 1));
                        return;
                    }
                };
                let due = now.plus_ms(wait_ms.max(miss.retry_after_ms.min(RETRY_AFTER_MS_MAX)));
                (attempts + 1, ParkedState::Waiting { due })
            }
        };
        self.park(miss.offset, Parked { key: miss.key.into(), attempts, state });
    }

    /// Everything below `next` is dealt with.
    pub(crate) fn advance(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
            self.done = self.done.split_off(&next);
        }
    }

    /// Everything up to `offset` is done, the consumer says.
    pub(crate) fn acknowledge(&mut self, next: u64) {
        let parked: Vec<u64> = self.parked.range(..next).map(|(offset, _)| *offset).collect();
        for offset in parked {
            self.unpark(offset);
        }
        self.advance(next);
    }

    /// Puts a dead letter up for delivery again, as the first of its key.
    pub(crate) fn revive(&mut self, offset: u64, key: &str) {
        self.dead.remove(&offset);
        self.park(offset, Parked { key: key.into(), attempts: 0, state: ParkedState::Ready });
    }

    fn park(&mut self, offset: u64, parked: Parked) {
        if let ParkedState::Waiting { due } = parked.state {
            self.due.insert((due, offset));
        }
        if !parked.key.is_empty() {
            self.queues.entry(parked.key.clone()).or_default().insert(offset);
        }
        self.parked.insert(offset, parked);
    }

    /// Takes an event out of the queue of its key, which moves up.
    fn unpark(&mut self, offset: u64) -> Option<Parked> {
        let parked = self.parked.remove(&offset)?;
        if let ParkedState::Waiting { due } = parked.state {
            self.due.remove(&(due, offset));
        }
        if let Some(queue) = self.queues.get_mut(&parked.key) {
            queue.remove(&offset);
            match queue.first() {
                None => drop(self.queues.remove(&parked.key)),
                Some(first) => {
                    let first = self.parked.get_mut(first).expect("what is queued is parked");
                    if first.state == ParkedState::Behind {
                        first.state = ParkedState::Ready;
                    }
                }
            }
        }
        Some(parked)
    }
}

/// How long to wait after an attempt that failed, `attempts` having failed before it; `None` if it was the last. Between
/// half of the schedule's time and all of it, drawn from the delivery's own numbers, so that every replica draws the same.
fn retry_ms(number: u64, offset: u64, attempts: u64) -> Option<u64> {
    let most = usize::try_from(attempts).ok().and_then(|at| RETRY_MS.get(at))?;
    let draw = xxh3_64_with_seed(&offset.to_le_bytes(), number ^ attempts << 48);
    Some(most / 2 + draw % (most / 2 + 1))
}

impl Subscription {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, &self.settings);
        for n in [self.generation, self.next, self.delivered, self.forgotten] {
            put_u64(out, n);
        }
        put_option_u64(out, self.failing_since.map(Stamp::raw));
        out.push(self.rests.map_or(0, |rest| rest as u8));
        put_u64(out, self.done.len() as u64);
        self.done.iter().for_each(|offset| put_u64(out, *offset));
        put_u64(out, self.dead.len() as u64);
        for (offset, record) in &self.dead {
            put_u64(out, *offset);
            put_u64(out, *record);
        }
        put_u64(out, self.parked.len() as u64);
        for (offset, parked) in &self.parked {
            put_u64(out, *offset);
            put_bytes(out, parked.key.as_bytes());
            put_u64(out, parked.attempts);
            let (state, due) = match parked.state {
                ParkedState::Waiting { due } => (1, due.raw()),
                ParkedState::Ready => (2, 0),
                ParkedState::Behind => (3, 0),
            };
            out.push(state);
            put_u64(out, due);
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut subscription = Self::new(r.str()?, 0);
        let settings = r.bytes()?;
        Settings::decode(&mut Reader::new(settings))?;
        subscription.settings = settings.into();
        subscription.generation = r.u64()?;
        subscription.next = r.u64()?;
        subscription.delivered = r.u64()?;
        subscription.forgotten = r.u64()?;
        subscription.failing_since = r.option_u64()?.map(Stamp::from_raw);
        subscription.rests = match r.u8()? {
            0 => None,
            number => Some(Rest::from_number(number)?),
        };
        for _ in 0..r.u64()? {
            subscription.done.insert(r.u64()?);
        }
        for _ in 0..r.u64()? {
            subscription.dead.insert(r.u64()?, r.u64()?);
        }
        for _ in 0..r.u64()? {
            let (offset, key, attempts) = (r.u64()?, r.str()?, r.u64()?);
            let (state, due) = (r.u8()?, Stamp::from_raw(r.u64()?));
            let state = match state {
                1 => ParkedState::Waiting { due },
                2 => ParkedState::Ready,
                3 => ParkedState::Behind,
                _ => return Err(Corrupt("an unknown state of a parked event")),
            };
            subscription.park(offset, Parked { key: key.into(), attempts, state });
        }
        Ok(subscription)
    }
}

impl Rest {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Failing => "failing",
            Self::Gone => "gone",
            Self::Full => "dead_letters_full",
        }
    }

    fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Asked, Self::Failing, Self::Gone, Self::Full];
        all.into_iter().find(|rest| *rest as u8 == number).ok_or(Corrupt("an unknown reason to rest"))
    }
}
