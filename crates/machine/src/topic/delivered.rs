//! What came of deliveries, brought back by the outbox.

use crate::apply::{ApplyError, Verdict};
use crate::archive::Archive;
use crate::record::Body;
use crate::turn::Turn;

use super::envelope::TOPIC_ESCALATIONS;
use super::order::{Miss, Report, Reports};
use super::publish::publish_built_in;
use super::record::{DeadLettered, TopicRecord};
use super::subscribe::wake;
use super::subscription::{Consequences, Rest};

/// Takes reports in. One of a subscription that is gone, or has other settings by now, changes nothing.
pub(crate) fn take<A: Archive>(turn: &mut Turn<'_, A>, reports: &Reports<'_>) -> Result<Verdict, ApplyError> {
    let mut verdict = Verdict::Ignored;
    for report in reports.iter() {
        if take_one(turn, &report?) {
            verdict = Verdict::Noted;
        }
    }
    Ok(verdict)
}

fn take_one<A: Archive>(turn: &mut Turn<'_, A>, report: &Report<'_>) -> bool {
    let number = report.subscription;
    let subscriptions = &mut turn.machine.topics.subscriptions;
    let is_of_now = subscriptions.get(number).is_some_and(|subscription| subscription.generation == report.generation);
    if !is_of_now {
        return false;
    }
    let (ids, now) = ((number, turn.machine.books.upcoming()), turn.stamp);
    let taken = subscriptions.change(number, |subscription| {
        let consequences = subscription.take(ids, report, now);
        (consequences, subscription.name.clone())
    });
    let (Consequences { letters, rest }, name) = taken.expect("it was found just now");
    for (miss, attempts) in &letters {
        bury(turn, number, &name, miss, *attempts);
    }
    if let Some((rest, evidence)) = rest {
        pause(turn, number, &name, rest, evidence);
    }
    wake(turn, number);
    true
}

/// Gives an event up. Its record is written down, and kept until a person decides.
fn bury<A: Archive>(turn: &mut Turn<'_, A>, number: u64, name: &str, miss: &Miss<'_>, attempts: u64) {
    let Miss { offset, key, status, evidence, .. } = *miss;
    let letter = DeadLettered { name, number, offset, key, attempts, status, evidence };
    let record = turn.write_unnamed(Body::Topic(TopicRecord::DeadLettered(letter)));
    turn.machine.topics.subscriptions.change(number, |subscription| subscription.dead.insert(offset, record));
}

/// Lets a subscription rest until a person resumes it. What it has not delivered yet waits where it is.
fn pause<A: Archive>(turn: &mut Turn<'_, A>, number: u64, name: &str, rest: Rest, evidence: &str) {
    let since = turn.machine.topics.subscriptions.change(number, |subscription| {
        let since = subscription.failing_since;
        let rested_before = subscription.rests.replace(rest);
        (since, rested_before)
    });
    let Some((since, None)) = since else { return };
    let failing_ms = since.map_or(0, |since| turn.stamp.millis().saturating_sub(since.millis()));
    let record = Body::Topic(TopicRecord::Paused { name, number, failing_ms, evidence });
    let offset = turn.write_unnamed(record);
    publish_built_in(turn, TOPIC_ESCALATIONS, offset);
}
