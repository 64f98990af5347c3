//! `PUT /v1/subscriptions/{name}` and its removal; what a topic keeps, and what a consumer has done.

use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::envelope::RESERVED_PREFIX;
use super::order::{Settings, Start, TopicRetention};
use super::publish::check_topic;
use super::record::TopicRecord;
use super::subscription::Subscription;

/// The most subscriptions of a cell.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1_000;

/// Makes a subscription, or gives the one by that name other settings.
pub(crate) fn subscribe<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    settings: &Settings<'a>,
    start: Option<Start>,
) -> Result<u64, Stop<'a>> {
    let upcoming = turn.machine.books.upcoming();
    let subscriptions = &mut turn.machine.topics.subscriptions;
    let number = match subscriptions.number(name) {
        Some(number) => number,
        None if subscriptions.len() >= SUBSCRIPTIONS_MAX => {
            let most = SUBSCRIPTIONS_MAX as i128;
            return Err(Denial { had: most, wanted: most + 1, ..Denial::of_text(Code::TooMany, name) }.into());
        }
        None => {
            let mut subscription = Subscription::new(name, upcoming);
            subscription.set(settings);
            subscription.generation = 0;
            subscriptions.add(upcoming, subscription);
            upcoming
        }
    };
    let changed = subscriptions.change(number, |subscription| {
        subscription.set(settings);
        match start {
            None => {}
            Some(Start::Beginning) => subscription.seek(0),
            Some(Start::Now) => subscription.seek(upcoming),
            Some(Start::Offset(offset)) => subscription.seek(offset.min(upcoming)),
        }
        (subscription.generation, subscription.next)
    });
    let (generation, next) = changed.expect("it was found or added just now");
    wake(turn, number);
    let body = Body::Topic(TopicRecord::Subscribed { name, number, generation, next, settings: *settings });
    Ok(write(turn, by, body))
}

/// Removes a subscription.
pub(crate) fn unsubscribe<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, name: &'a str) -> Result<u64, Stop<'a>> {
    let number = find(turn, name)?;
    turn.machine.topics.subscriptions.remove(number);
    Ok(write(turn, by, Body::Topic(TopicRecord::Unsubscribed { name, number })))
}

/// Takes note of what a consumer has done.
pub(crate) fn acknowledge<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    offset: u64,
) -> Result<u64, Stop<'a>> {
    let number = find(turn, name)?;
    // What is not published yet cannot have been done.
    let next = offset.saturating_add(1).min(turn.machine.books.upcoming());
    let changed = turn.machine.topics.subscriptions.change(number, |subscription| {
        subscription.acknowledge(next);
        subscription.next
    });
    let next = changed.expect("it was found just now");
    wake(turn, number);
    Ok(write(turn, by, Body::Topic(TopicRecord::Acknowledged { name, next })))
}

/// Says how much a topic keeps. The server's own topics can be told so too; there is nothing to forget of the ledger.
pub(crate) fn keep<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    topic: &'a str,
    retention: TopicRetention,
) -> Result<u64, Stop<'a>> {
    let known = turn.machine.topics.lists.number(topic);
    if known.is_none() || !topic.starts_with(RESERVED_PREFIX) {
        check_topic(turn, topic)?;
    }
    let ordinal = write(turn, by, Body::Topic(TopicRecord::Kept { topic, retention }));
    let topics = &mut turn.machine.topics;
    let number = known.unwrap_or_else(|| {
        topics.lists.make(ordinal, topic);
        ordinal
    });
    topics.lists.keep(number, retention);
    topics.forget(number, turn.stamp, &mut turn.scratch.forgets_left);
    Ok(ordinal)
}

/// The subscription of that name.
pub(crate) fn find<'a, A: Archive>(turn: &Turn<'_, A>, name: &'a str) -> Result<u64, Denial<'a>> {
    let number = turn.machine.topics.subscriptions.number(name);
    number.ok_or_else(|| Denial::of_text(Code::SubscriptionNotFound, name))
}

/// Has the outbox look at a subscription, if that is active.
pub(crate) fn wake<A: Archive>(turn: &mut Turn<'_, A>, number: u64) {
    let is_active = turn.machine.topics.subscriptions.get(number).is_some_and(Subscription::is_active);
    if is_active {
        turn.scratch.woken.insert(number);
    }
}

/// Writes the record of what was decided under a key.
pub(crate) fn write<A: Archive>(turn: &mut Turn<'_, A>, by: &By<'_>, body: Body<'_>) -> u64 {
    turn.write(by, body, Marks { operation: Some(by.name), ..Marks::default() })
}
