//! Durable calls as they are judged: what their callers were promised, what was sent, what the receivers did, and what
//! the log says of it.

use std::collections::BTreeMap;

use call::core::budget::WINDOW;
use machine::{Body, CallEnd, Doubt, Finding, Owner, Phase, Record, SagaRecord};
use words::{Fingerprint, Stamp};

use crate::outbox::{AGAIN_FLOOR, AGAIN_FLOOR_ALL};
use crate::receiver::{Executed, Kind};
use crate::runs::UNDOES;

/// Retries may be one part in so many of first attempts.
const BUDGET_PARTS: usize = 10;
const BUDGET_WINDOW_US: u64 = WINDOW.as_micros() as u64;

/// What the caller of a call was promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Promise {
    pub(crate) doubt: Doubt,
    /// For how long it may be uncertain before its way out is taken.
    pub(crate) uncertain_ms_max: u64,
}

/// A request as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) operation: String,
    pub(crate) receiver: usize,
    pub(crate) phase: Phase,
    pub(crate) time_us: u64,
    /// The newest entry that had been applied.
    pub(crate) index: u64,
    /// The life of the server that sent it.
    pub(crate) life: u64,
    /// When the budget was asked for it, if it is not the first try of its attempt.
    pub(crate) retry_granted_us: Option<u64>,
    /// It is the first try of a later attempt.
    pub(crate) is_in_turn: bool,
    /// When what it had taken out of the budget was given back, if it was.
    pub(crate) given_back_us: Option<u64>,
    /// It arrived and was not turned away: for all that its sender knows, it may have been done.
    pub(crate) was_taken_on: bool,
}

/// What happened outside the log.
#[derive(Debug, Default)]
pub(crate) struct CallsMade {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) promises: BTreeMap<String, Promise>,
    pub(crate) sent: Vec<Sent>,
    /// Of each receiver: its runs of each operation.
    pub(crate) executed: Vec<BTreeMap<String, Vec<Executed>>>,
    /// Of each receiver: the operations whose effect stands.
    pub(crate) standing: Vec<BTreeMap<String, u64>>,
}

/// When the log says something: by position, by stamp, and in true time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct When {
    pub(crate) index: u64,
    pub(crate) stamp: Stamp,
    pub(crate) time_us: u64,
}

/// What the log says of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CallSeen {
    pub(crate) key: String,
    fingerprint: Fingerprint,
    accepted: When,
    /// Whose step it is, and what its definition says of doubt.
    step: Option<(Owner, Promise)>,
    /// Since when it is uncertain, if it is.
    doubted: Option<When>,
    /// When a person got the next move, and on what: the phase and the finding.
    escalated: Option<(When, Phase, Finding)>,
    /// When its run was restarted since.
    restarted: Option<When>,
    pub(crate) end: Option<(When, CallEnd)>,
}

impl CallSeen {
    /// Whether it ended as not done without the receiver having said so.
    fn was_assumed(&self) -> bool {
        matches!(self.end, Some((_, CallEnd::Cancelled | CallEnd::DecreedRefused)))
    }

    /// Whether it is certain that it was not done.
    const fn is_not_done(&self) -> bool {
        matches!(self.end, Some((_, CallEnd::Refused | CallEnd::NotDone | CallEnd::DecreedRefused)))
    }
}

/// All calls of a log.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    calls: BTreeMap<u64, CallSeen>,
    /// The calls of each key, which are more than one only for a step that is tried again.
    by_key: BTreeMap<String, Vec<u64>>,
}

/// How the calls of a run came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallCounts {
    /// Calls accepted.
    pub accepted: u64,
    /// Of each end, in the order of [`CallCounts::ENDS`].
    pub ends: [u64; CallCounts::ENDS.len()],
    /// Left to a person, and not decided by one.
    pub escalated: u64,
    /// Counted as not done by a rule or by a person, and done at a receiver that runs each key once.
    pub done_all_the_same: u64,
    /// Requests sent.
    pub requests: u64,
    /// Of these, tries after the first of an attempt.
    pub retries: u64,
}

impl CallCounts {
    /// The ends there are.
    pub const ENDS: [CallEnd; 7] = [
        CallEnd::Committed,
        CallEnd::Refused,
        CallEnd::NotDone,
        CallEnd::Compensated,
        CallEnd::Cancelled,
        CallEnd::DecreedCommitted,
        CallEnd::DecreedRefused,
    ];

    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.escalated += other.escalated;
        self.done_all_the_same += other.done_all_the_same;
        self.requests += other.requests;
        self.retries += other.retries;
        for (sum, n) in self.ends.iter_mut().zip(other.ends) {
            *sum += n;
        }
    }
}

impl CallLog {
    /// Takes in what a record says of a call, and checks that a call is accepted once and ends once.
    pub(crate) fn note(&mut self, ordinal: u64, when: When, record: &Record<'_>) -> Result<(), String> {
        match record.body {
            Body::CallAccepted(call) => {
                let (key, fingerprint) = (record.key.to_owned(), record.fingerprint);
                let (doubt, uncertain_ms_max) = (call.order.doubt, call.order.uncertain_ms_max);
                let step = call.owner.map(|owner| (owner, Promise { doubt, uncertain_ms_max }));
                let of_key = self.by_key.entry(key.clone()).or_default();
                // A step is tried again only once it is certain that it was not done.
                let is_again = |call: &u64| step.is_some() && self.calls[call].is_not_done();
                if !of_key.iter().all(is_again) {
                    return Err(format!("`{key}` was accepted as a call twice"));
                }
                of_key.push(ordinal);
                let accepted = when;
                let seen = CallSeen {
                    key,
                    fingerprint,
                    accepted,
                    step,
                    doubted: None,
                    escalated: None,
                    restarted: None,
                    end: None,
                };
                self.calls.insert(ordinal, seen);
            }
            Body::Saga(SagaRecord::Restarted { run, .. }) => {
                let is_of_run = |seen: &&mut CallSeen| seen.step.is_some_and(|(owner, _)| owner.run == run);
                for seen in self.calls.values_mut().filter(is_of_run).filter(|seen| seen.escalated.is_some()) {
                    seen.restarted = Some(when);
                }
            }
            Body::CallTried(tried) => {
                let seen = self.open(tried.call)?;
                if matches!(tried.finding, Finding::StillAtIt | Finding::Uncertain) || tried.escalated {
                    seen.doubted.get_or_insert(when);
                }
                if tried.escalated && seen.escalated.replace((when, tried.phase, tried.finding)).is_some() {
                    // Whoever restarted its run had it tried again, with its whole bound before it.
                    let again = seen.restarted.take();
                    seen.doubted = Some(again.ok_or_else(|| format!("`{}` was escalated twice", seen.key))?);
                }
            }
            Body::CallEnded(ended) => {
                let seen = self.open(ended.call)?;
                if seen.key != record.key || seen.fingerprint != record.fingerprint {
                    return Err(format!("the end of `{}` stands under another key: `{}`", seen.key, record.key));
                }
                seen.end = Some((when, ended.end));
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, call: u64) -> Result<&mut CallSeen, String> {
        let seen = self.calls.get_mut(&call).ok_or_else(|| format!("call {call} was never accepted"))?;
        match seen.end {
            Some((when, end)) => {
                Err(format!("`{}` ended as {} in entry {} and goes on", seen.key, end.as_str(), when.index))
            }
            None => Ok(seen),
        }
    }

    /// Whether a call was accepted under the key.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether that had happened by that entry.
    pub(crate) fn was_accepted_by(&self, key: &str, index: u64) -> bool {
        let first = self.by_key.get(key).and_then(|calls| calls.first());
        first.is_some_and(|call| self.calls[call].accepted.index <= index)
    }

    /// The calls that neither ended nor wait for a person.
    fn left_open(&self) -> impl Iterator<Item = &CallSeen> {
        self.calls.values().filter(|seen| seen.end.is_none() && seen.escalated.is_none())
    }

    /// Holds what was done outside against what the log says of it.
    pub(crate) fn judge(&self, made: &CallsMade, stamps: &dyn Fn(u64) -> When, rebased: bool) -> Result<(), String> {
        made.check_runs()?;
        made.check_budgets()?;
        self.check_compensations(made, stamps, rebased)?;
        for (call, seen) in &self.calls {
            // What was tried again under its key has the effect of the last time; what a run has undone has none.
            let calls = &self.by_key[&seen.key];
            let is_last = calls.last() == Some(call);
            // That an earlier one was not done may have been somebody's word only; what came of this one does not prove it.
            let mut earlier = calls.iter().take_while(|earlier| *earlier != call);
            let is_proof = is_last && !earlier.any(|earlier| self.calls[earlier].was_assumed());
            let may_be_undone = self.by_key.contains_key(&format!("{}{UNDOES}", seen.key));
            check_effect(seen, made, is_proof, may_be_undone)?;
            check_bounds(seen, made, rebased)?;
        }
        match self.left_open().next() {
            Some(seen) => Err(format!("`{}` neither ended nor was given to a person", seen.key)),
            None => Ok(()),
        }
    }

    /// Nothing is undone of which it was certain what became of it, or that was not yet due to be undone.
    fn check_compensations(&self, made: &CallsMade, stamps: &dyn Fn(u64) -> When, rebased: bool) -> Result<(), String> {
        let by_key: BTreeMap<&str, &CallSeen> = self.calls.values().map(|seen| (seen.key.as_str(), seen)).collect();
        for sent in made.sent.iter().filter(|sent| sent.phase == Phase::Compensate) {
            let key = &sent.operation;
            let wrong = |what: &str| Err(format!("`{key}` was to be undone at {} us, {what}", sent.time_us));
            let seen = by_key.get(key.as_str()).ok_or_else(|| format!("`{key}` was never accepted"))?;
            let Some(since) = seen.doubted.filter(|since| since.index <= sent.index) else {
                return wrong("and was not in doubt");
            };
            let promise = made.promises[key];
            if promise.doubt != Doubt::Compensate
                && is_before(since, stamps(sent.index), promise.uncertain_ms_max, rebased)
            {
                return wrong("before its bound was over");
            }
        }
        Ok(())
    }

    /// What there was.
    pub(crate) fn count(&self, made: &CallsMade) -> CallCounts {
        let mut counts = CallCounts { accepted: self.calls.len() as u64, ..CallCounts::default() };
        counts.requests = made.sent.len() as u64;
        counts.retries = made.sent.iter().filter(|sent| sent.retry_granted_us.is_some()).count() as u64;
        for seen in self.calls.values() {
            let Some((_, end)) = seen.end else {
                counts.escalated += 1;
                continue;
            };
            let at = CallCounts::ENDS.iter().position(|known| *known == end).expect("all ends are there");
            counts.ends[at] += 1;
            counts.done_all_the_same += u64::from(seen.was_assumed() && made.stands(&seen.key));
        }
        counts
    }
}

/// The end is true of the receiver.
fn check_effect(seen: &CallSeen, made: &CallsMade, is_proof: bool, may_be_undone: bool) -> Result<(), String> {
    let Some((when, end)) = seen.end else { return Ok(()) };
    let wrong = |what: String| Err(format!("`{}` ended as {} in entry {}, {what}", seen.key, end.as_str(), when.index));
    let runs = made.executed.iter().filter_map(|executed| executed.get(&seen.key)).flatten();
    let stands = made.stands(&seen.key);
    match end {
        CallEnd::Committed if !runs.clone().any(|run| run.time_us <= when.time_us) => {
            wrong("and no receiver had done it".to_owned())
        }
        CallEnd::Committed if !stands && !may_be_undone && made.idempotent_runs(&seen.key) > 0 => {
            wrong("and it was undone".to_owned())
        }
        CallEnd::Refused | CallEnd::NotDone | CallEnd::Compensated if stands && is_proof => {
            let at: Vec<_> = runs.map(|run| run.time_us).collect();
            wrong(format!("and it stands, done at {at:?} us"))
        }
        _ => Ok(()),
    }
}

/// A way out is not taken before the bound that was promised.
fn check_bounds(seen: &CallSeen, made: &CallsMade, rebased: bool) -> Result<(), String> {
    let of_step = seen.step.as_ref().map(|(_, promise)| promise);
    let Some(promise) = of_step.or_else(|| made.promises.get(&seen.key)) else {
        return Err(format!("`{}` was accepted, and nobody asked for it", seen.key));
    };
    let wrong = |what: &str| Err(format!("`{}` {what} before its bound was over", seen.key));
    let is_early = |at: When, times: u64| match seen.doubted {
        Some(since) => is_before(since, at, promise.uncertain_ms_max * times, rebased),
        None => true,
    };
    match seen.end {
        Some((at, CallEnd::Cancelled)) if is_early(at, 1) => return wrong("was cancelled"),
        _ => {}
    }
    match seen.escalated {
        Some((at, Phase::Call, _)) if promise.doubt != Doubt::Escalate && is_early(at, 1) => wrong("was escalated"),
        Some((at, Phase::Resend | Phase::Probe, _)) if is_early(at, 1) => wrong("was escalated"),
        Some((at, Phase::Compensate, finding)) if finding != Finding::Refused && is_early(at, 2) => {
            wrong("was escalated")
        }
        _ => Ok(()),
    }
}

/// Whether less than `ms` lie between the two, by the log's clock or in true time. The wall clock may be followed by 5%,
/// and drifts by less than 1%; where it jumped across a restart, only the log's clock counts.
fn is_before(since: When, at: When, ms: u64, rebased: bool) -> bool {
    let least_us = ms * 1_000 - ms * 70;
    at.stamp < since.stamp.plus_ms(ms) || !rebased && at.time_us.saturating_sub(since.time_us) < least_us
}

impl CallsMade {
    /// How often receivers that run each key once ran the operation.
    fn idempotent_runs(&self, key: &str) -> usize {
        let executed = self.executed.iter().zip(&self.kinds).filter(|(_, kind)| kind.is_idempotent());
        executed.filter_map(|(executed, _)| executed.get(key)).map(Vec::len).sum()
    }

    /// Whether the operation's effect stands at a receiver that runs each key once.
    pub(crate) fn stands(&self, key: &str) -> bool {
        self.standing.iter().zip(&self.kinds).any(|(standing, kind)| kind.is_idempotent() && standing.contains_key(key))
    }

    /// Receivers that run each key once did so; others got nothing twice that may not be sent again.
    fn check_runs(&self) -> Result<(), String> {
        for (executed, _) in self.executed.iter().zip(&self.kinds).filter(|(_, kind)| kind.is_idempotent()) {
            if let Some((key, runs)) = executed.iter().find(|(_, runs)| runs.len() > 1) {
                let at: Vec<_> = runs.iter().map(|run| run.time_us).collect();
                return Err(format!("`{key}` was executed {} times, at {at:?} us", runs.len()));
            }
        }
        let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
        for sent in self.sent.iter().filter(|sent| sent.was_taken_on && !self.kinds[sent.receiver].is_idempotent()) {
            let times = taken.entry(&sent.operation).or_default();
            *times += 1;
            if *times > 1 && self.promises.get(&sent.operation).is_some_and(|p| p.doubt != Doubt::Resend) {
                return Err(format!("`{}` was sent again to a receiver that may do it twice", sent.operation));
            }
        }
        Ok(())
    }

    /// In each life, towards each receiver and towards all: retries and later attempts are within their bounds whenever one of
    /// them is made.
    fn check_budgets(&self) -> Result<(), String> {
        for receiver in (0..self.kinds.len()).map(Some).chain([None]) {
            let mut lives: BTreeMap<u64, Spent> = BTreeMap::new();
            for sent in self.sent.iter().filter(|sent| receiver.is_none_or(|receiver| receiver == sent.receiver)) {
                lives.entry(sent.life).or_default().note(sent);
            }
            let floor = if receiver.is_some() { AGAIN_FLOOR } else { AGAIN_FLOOR_ALL };
            lives.values().try_for_each(|spent| spent.check(floor as usize, receiver.is_none()))?;
        }
        Ok(())
    }
}

/// When requests were made that a budget counts.
#[derive(Default)]
struct Spent {
    firsts: Vec<u64>,
    retries: Vec<u64>,
    /// Later attempts, and when they were given back.
    later: Vec<(u64, Option<u64>)>,
}

impl Spent {
    fn note(&mut self, sent: &Sent) {
        match sent.retry_granted_us {
            Some(granted_us) => self.retries.push(granted_us),
            None if sent.is_in_turn => self.later.push((sent.time_us, sent.given_back_us)),
            None => self.firsts.push(sent.time_us),
        }
    }

    /// A retry needs room in the tenth, a later attempt in the tenth or on the floor. All together may take their tenths, and
    /// the floor beyond them.
    fn check(&self, floor: usize, is_process: bool) -> Result<(), String> {
        // What was withdrawn leaves the window after the first attempts that it was withdrawn from.
        if self.retries.len() * BUDGET_PARTS > self.firsts.len() {
            let (retries, firsts) = (self.retries.len(), self.firsts.len());
            return Err(format!("{retries} retries to {firsts} first attempts in one life"));
        }
        let (retries, later) = (self.retries.iter(), self.later.iter());
        let made = retries.map(|us| (*us, false)).chain(later.map(|(us, _)| (*us, true)));
        for (at_us, is_later) in made {
            let is_within = |us: u64| us <= at_us && us + BUDGET_WINDOW_US > at_us;
            let count = |times: &[u64]| times.iter().filter(|us| is_within(**us)).count();
            let (firsts, retries) = (count(&self.firsts), count(&self.retries));
            // What was taken of a tenth stands for a window; what had earned it may have been made a window before that.
            let has_earned = |us: &&u64| **us <= at_us && **us + 2 * BUDGET_WINDOW_US > at_us;
            // A later attempt of the same microsecond may have come after the retry.
            let stands = |(us, back_us): &&(u64, Option<u64>)| {
                is_within(*us) && (is_later || *us < at_us) && back_us.is_none_or(|back_us| back_us > at_us)
            };
            let later = self.later.iter().filter(stands).count();
            let tenth = firsts / BUDGET_PARTS;
            let allowed = match (is_process, is_later) {
                (true, _) => self.firsts.iter().filter(has_earned).count() / BUDGET_PARTS + floor,
                (false, true) => tenth.max(floor),
                (false, false) => tenth,
            };
            if retries + later > allowed || !is_later && retries > tenth {
                return Err(format!(
                    "{retries} retries and {later} later attempts to {firsts} first attempts in the 10 s up to {at_us} us"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use machine::{CallAccepted, CallEnded, CallOrder, Undoes, WayOut};
    use words::Position;

    use super::*;

    fn when(ms: u64) -> When {
        When { index: ms, stamp: Stamp::ZERO.plus_ms(ms), time_us: ms * 1_000 }
    }

    fn record<'a>(key: &'a str, body: Body<'a>) -> Record<'a> {
        let (position, fingerprint) = (Position::START, Fingerprint::of(b"x"));
        Record { position, stamp: Stamp::ZERO, principal: "", key, fingerprint, waited_us: 0, body }
    }

    fn accepted() -> Body<'static> {
        let order = CallOrder {
            keep: "",
            method: "POST",
            url: "",
            headers: "",
            body: b"",
            deadline_ms: 1,
            tries_max: 1,
            persistent: false,
            doubt: Doubt::Resend,
            probe: "",
            compensation: "",
            uncertain_ms_max: 1_000,
            way_out: WayOut::Cancel,
        };
        Body::CallAccepted(CallAccepted { order, owner: None, undoes: Undoes::Nothing })
    }

    fn ended(end: CallEnd) -> Body<'static> {
        Body::CallEnded(CallEnded {
            headers: "",
            call: 0,
            previous: 0,
            end,
            phase: Phase::Call,
            attempt: 1,
            tries: 1,
            uncertain_us: 0,
            evidence: "",
            status: 0,
            content_type: "",
            body: b"",
            is_cut: false,
            by: "",
        })
    }

    #[test]
    fn an_end_is_written_once() {
        let mut log = CallLog::default();
        log.note(0, when(1), &record("k", accepted())).unwrap();
        log.note(1, when(2), &record("k", ended(CallEnd::Committed))).unwrap();
        let again = log.note(2, when(3), &record("k", ended(CallEnd::Committed))).unwrap_err();
        assert_eq!(again, "`k` ended as committed in entry 2 and goes on");
        assert_eq!(log.note(3, when(4), &record("k", accepted())).unwrap_err(), "`k` was accepted as a call twice");
    }

    #[track_caller]
    fn check(end: CallEnd, runs: usize, standing: u64, expected: Result<(), &str>) {
        let mut log = CallLog::default();
        log.note(0, when(1), &record("k", accepted())).unwrap();
        log.note(1, when(9_000), &record("k", ended(end))).unwrap();
        let run = Executed { time_us: 5, request: 0, is_copy: false };
        let mut made = CallsMade { kinds: vec![Kind::Inbox], ..CallsMade::default() };
        made.promises.insert("k".to_owned(), Promise { doubt: Doubt::Resend, uncertain_ms_max: 1_000 });
        let executed = if runs > 0 { vec![("k".to_owned(), vec![run; runs])] } else { Vec::new() };
        made.executed.push(executed.into_iter().collect());
        made.standing.push((standing > 0).then(|| ("k".to_owned(), standing)).into_iter().collect());
        let found = log.judge(&made, &when, false);
        assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{end:?} {runs} {standing}");
    }

    #[test]
    fn an_end_is_true_of_the_receiver() {
        check(CallEnd::Committed, 1, 1, Ok(()));
        check(CallEnd::Committed, 0, 0, Err("`k` ended as committed in entry 9000, and no receiver had done it"));
        check(CallEnd::Committed, 1, 0, Err("`k` ended as committed in entry 9000, and it was undone"));
        check(CallEnd::Committed, 2, 1, Err("`k` was executed 2 times, at [5, 5] us"));
        check(CallEnd::NotDone, 0, 0, Ok(()));
        check(CallEnd::NotDone, 1, 1, Err("`k` ended as not_done in entry 9000, and it stands, done at [5] us"));
        check(CallEnd::Compensated, 1, 0, Ok(()));
        check(CallEnd::DecreedRefused, 1, 1, Ok(()));
        check(CallEnd::Cancelled, 0, 0, Err("`k` was cancelled before its bound was over"));
    }

    #[test]
    fn retries_stay_within_a_tenth() {
        let sent = |is_retry: bool| Sent {
            operation: "k".to_owned(),
            receiver: 0,
            phase: Phase::Call,
            time_us: 1,
            index: 1,
            life: 0,
            retry_granted_us: is_retry.then_some(1),
            is_in_turn: false,
            given_back_us: None,
            was_taken_on: false,
        };
        let mut made = CallsMade { kinds: vec![Kind::Inbox], ..CallsMade::default() };
        made.sent = [vec![sent(false); 10], vec![sent(true)]].concat();
        assert_eq!(made.check_budgets(), Ok(()));
        made.sent.push(sent(true));
        assert_eq!(made.check_budgets().unwrap_err(), "2 retries to 10 first attempts in one life");
        let later = Sent { time_us: BUDGET_WINDOW_US + 1, ..sent(false) };
        made.sent = [vec![sent(false); 10], vec![later; 9], vec![sent(true)]].concat();
        made.sent[19].retry_granted_us = Some(BUDGET_WINDOW_US + 1);
        let found = made.check_budgets().unwrap_err();
        let expected = "1 retries and 0 later attempts to 9 first attempts in the 10 s up to 10000001 us";
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_later(firsts: usize, later: usize, given_back_us: Option<u64>, retries: usize, is_fine: bool) {
        let sent = Sent {
            operation: "k".to_owned(),
            receiver: 0,
            phase: Phase::Resend,
            time_us: 1,
            index: 1,
            life: 0,
            retry_granted_us: None,
            is_in_turn: false,
            given_back_us: None,
            was_taken_on: false,
        };
        let in_turn = |time_us, given_back_us| Sent { is_in_turn: true, time_us, given_back_us, ..sent.clone() };
        let retry = Sent { retry_granted_us: Some(3), ..sent.clone() };
        let mut made = CallsMade { kinds: vec![Kind::Inbox], ..CallsMade::default() };
        made.sent = [vec![sent.clone(); firsts], vec![in_turn(2, given_back_us); later], vec![retry; retries]].concat();
        made.sent.push(in_turn(4, None));
        let found = made.check_budgets();
        assert_eq!(found.is_ok(), is_fine, "{firsts} {later} {given_back_us:?} {retries}: {found:?}");
    }

    #[test]
    fn later_attempts_stay_within_a_tenth_or_the_floor() {
        let floor = AGAIN_FLOOR as usize;
        check_later(0, floor - 1, None, 0, true);
        check_later(0, floor, None, 0, false);
        check_later(0, floor, Some(3), 0, true);
        check_later(0, floor, Some(5), 0, false);
        check_later(100, 9, None, 0, true);
        check_later(100, 10, None, 0, false);
        check_later(100, 5, None, 4, true);
        check_later(100, 6, None, 4, false);
        check_later(10, 1, None, 1, false);
    }
}
