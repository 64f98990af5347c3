//! What the clients saw, kept to be held against the log.

use cell::{Account, Answer, Level, Part, ReadError, Reply};
use hashbrown::HashMap;
use machine::{Body, Code, Entry, Fault, MemoryArchive, Record};
use words::{Fingerprint, Position, Stamp};

use crate::calls::{CallsMade, When};
use crate::events::EventsMade;
use crate::leases::LeasesHeld;
use crate::report::Outcome;
use crate::runs::RunsAsked;
use crate::witness::Witness;

/// An entry as the log acknowledged it, or as a restart found it.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) position: Position,
    pub(crate) entry: Vec<u8>,
    /// When it was given to the log, in true time.
    pub(crate) begun_us: u64,
}

/// A write that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_settle: bool,
    pub(crate) invoked_us: u64,
    pub(crate) answered_us: u64,
    pub(crate) reply: Reply,
}

/// A logical operation, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its keys: one, unless a client errs.
    pub(crate) keys: Vec<String>,
    pub(crate) fingerprint: Fingerprint,
    /// Until when it may happen, in true time.
    pub(crate) deadline_us: u64,
}

/// A read that was answered.
#[derive(Clone, Debug)]
pub(crate) struct ReadSeen {
    pub(crate) account: String,
    pub(crate) level: Level,
    pub(crate) invoked_us: u64,
    pub(crate) answered_us: u64,
    pub(crate) position: Position,
    pub(crate) found: Result<Account, ReadError>,
}

/// Everything that is judged at the end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) log: Vec<Logged>,
    pub(crate) answered: Vec<Answered>,
    pub(crate) reads: Vec<ReadSeen>,
    /// Each logical operation that was ever asked for.
    pub(crate) calls: HashMap<u64, Asked>,
    /// Keys whose every attempt was answered as certainly not done, and that nobody tried again.
    pub(crate) not_done: Vec<(String, Fingerprint)>,
    /// The server's digest after each entry.
    pub(crate) digests: HashMap<u64, u64>,
    /// The first answer that came too late, if one did.
    pub(crate) late: Option<String>,
    /// Durable calls, as they were outside the log.
    pub(crate) calls_made: CallsMade,
    /// What was asked of runs.
    pub(crate) runs_asked: RunsAsked,
    /// Events, as they were outside the log.
    pub(crate) events_made: EventsMade,
    /// Leases, as their holders believed in them.
    pub(crate) leases_held: LeasesHeld,
    /// Whether the wall clock was allowed to jump across a restart, so that timers may be early.
    pub(crate) clock_was_rebased: bool,
}

impl Ledger {
    /// The first thing that is wrong, if anything is.
    pub(crate) fn judge(&self, outcome: &mut Outcome) -> Result<(), String> {
        let witness = Witness::replay(self)?;
        outcome.calls = witness.calls.count(&self.calls_made);
        outcome.runs = witness.runs.counts();
        outcome.events = witness.events.count(&self.events_made);
        outcome.leases = witness.leases.counts();
        outcome.sometimes.attempt_unreported |= witness.attempt_unreported;
        self.check_answers(&witness)?;
        self.check_real_time()?;
        self.check_once(&witness)?;
        witness.calls.judge(&self.calls_made, &|index| self.when(index), self.clock_was_rebased)?;
        witness.runs.judge(&witness.calls, &self.calls_made)?;
        witness.events.judge(&self.events_made)?;
        outcome.leases.fenced = self.leases_held.judge()?;
        self.late.clone().map_or(Ok(()), Err)
    }

    /// When an entry began, by the log and in true time.
    fn when(&self, index: u64) -> When {
        let logged = usize::try_from(index).ok().and_then(|index| index.checked_sub(1)).and_then(|at| self.log.get(at));
        let stamp =
            logged.and_then(|logged| Entry::decode(&logged.entry).ok()).map_or(Stamp::ZERO, |entry| entry.stamp);
        When { index, stamp, time_us: logged.map_or(0, |logged| logged.begun_us) }
    }

    fn check_answers(&self, witness: &Witness) -> Result<(), String> {
        for answered in &self.answered {
            let is_known = || {
                let key = &answered.key;
                witness.calls.knows(key) || witness.runs.knows(key) || witness.leases.knows(key)
            };
            if matches!(answered.reply, Reply::Pending { .. }) && !is_known() {
                return Err(format!("`{}` was answered as accepted, and the log knows of none", answered.key));
            }
            let Reply::Decided(decided) = &answered.reply else { continue };
            let wrong = |what: String| Err(format!("the answer to `{}` at {}: {what}", answered.key, decided.seen));
            if let Err(what) = check_parts(&decided.answer, &witness.archive) {
                return wrong(what);
            }
            let Some(first) = decided.answer.first() else { return wrong("is empty".to_owned()) };
            if answered.key.is_empty() {
                continue;
            }
            match first {
                Part::Record { bytes, .. } => {
                    let record = Record::decode(bytes).map_err(|error| error.to_string())?;
                    if record.key != answered.key {
                        return wrong(format!("is that of `{}`", record.key));
                    }
                    if record.body.is_pending() {
                        return wrong("is no end".to_owned());
                    }
                    let is_bar = matches!(record.body, Body::Barred);
                    if !answered.is_settle && (is_bar || record.fingerprint != answered.fingerprint) {
                        return wrong("is that of another request".to_owned());
                    }
                }
                Part::Refused(refusal) => self.check_refused(refusal.code, answered, witness)?,
            }
        }
        Ok(())
    }

    fn check_refused(&self, code: Code, answered: &Answered, witness: &Witness) -> Result<(), String> {
        let decided = witness.by_key.get(&answered.key);
        let holds = match code {
            Code::KeyReused => decided.is_some_and(|d| !d.is_bar && d.fingerprint != answered.fingerprint),
            Code::OperationBarred => decided.is_some_and(|d| d.is_bar),
            _ => true,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("`{}` was refused as {code:?}, and the log says otherwise", answered.key))
        }
    }

    /// What was asked after an answer was given stands after it in the log.
    fn check_real_time(&self) -> Result<(), String> {
        let mut answers: Vec<(u64, u64)> = Vec::new();
        for answered in &self.answered {
            if let Reply::Decided(decided) = &answered.reply {
                answers.push((answered.answered_us, decided.seen.index));
            }
        }
        let fresh = self.reads.iter().filter(|read| !matches!(read.level, Level::At(_)));
        answers.extend(fresh.map(|read| (read.answered_us, read.position.index)));
        answers.sort_unstable();
        let mut newest = 0;
        for (_, index) in &mut answers {
            newest = newest.max(*index);
            *index = newest;
        }
        let seen_before = |time_us: u64| match answers.partition_point(|(answered_us, _)| *answered_us < time_us) {
            0 => 0,
            n => answers[n - 1].1,
        };
        for answered in &self.answered {
            let Reply::Decided(decided) = &answered.reply else { continue };
            let before = seen_before(answered.invoked_us);
            if decided.seen.index < before {
                return Err(format!(
                    "`{}` was judged on entry {}, but {before} had been seen",
                    answered.key, decided.seen
                ));
            }
        }
        for read in &self.reads {
            let before = seen_before(read.invoked_us);
            if read.level == Level::Linearizable && read.position.index < before {
                return Err(format!("a linearizable read saw entry {}, but {before} had been seen", read.position));
            }
        }
        Ok(())
    }

    /// Each operation took effect at most once, and not after its deadline.
    fn check_once(&self, witness: &Witness) -> Result<(), String> {
        let mut ids: Vec<_> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        for asked in ids.iter().map(|id| &self.calls[id]) {
            let decided = asked.keys.iter().filter_map(|key| witness.by_key.get(key).map(|d| (key, d)));
            let mut effects = decided.filter(|(_, d)| !d.is_bar && d.fingerprint == asked.fingerprint);
            let Some((key, first)) = effects.next() else { continue };
            if let Some((other, _)) = effects.next() {
                return Err(format!("one operation took effect twice, as `{key}` and as `{other}`"));
            }
            let (begun_us, deadline_us) = (self.log[first.index as usize - 1].begun_us, asked.deadline_us);
            // The server's clocks may drift; a hundredth of a deadline is far above what they do here.
            if begun_us > deadline_us + deadline_us / 100 {
                return Err(format!("`{key}` was appended at {begun_us} us, after its deadline at {deadline_us} us"));
            }
        }
        for (key, fingerprint) in &self.not_done {
            if witness.by_key.get(key).is_some_and(|d| !d.is_bar && d.fingerprint == *fingerprint) {
                return Err(format!("`{key}` was answered as certainly not done, and happened"));
            }
        }
        Ok(())
    }
}

fn check_parts(answer: &Answer, archive: &MemoryArchive) -> Result<(), String> {
    for part in answer.parts() {
        let Part::Record { bytes, ordinal, .. } = part else { continue };
        let mut same = false;
        let read = machine::Archive::read(archive, ordinal, &mut |truth| same = truth == bytes);
        match read {
            Ok(()) if same => {}
            Ok(()) => return Err(format!("record {ordinal} is another in the log: {:?}", Record::decode(bytes))),
            Err(Fault(_)) => return Err(format!("record {ordinal} is not in the log: {:?}", Record::decode(bytes))),
        }
    }
    Ok(())
}
