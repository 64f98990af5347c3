//! `POST /v1/topics/{t}/events`: events, with what else they are published with, in one entry.

use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::envelope::{RESERVED_PREFIX, TOPIC_LEDGER};
use super::message::{Message, Messages};
use super::record::TopicRecord;

/// The most topics of a cell.
pub(crate) const TOPICS_MAX: usize = 10_000;

/// What an escalation counts for in its topic, in bytes.
const BUILT_IN_BYTES: u64 = 256;

/// Publishes events and gives the record that says where they are: the first answer to whoever asks under the key.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    topic: &'a str,
    messages: &Messages<'a>,
) -> Result<u64, Stop<'a>> {
    check_topic(turn, topic)?;
    let first = turn.machine.books.upcoming();
    for message in messages.iter() {
        publish(turn, by, topic, &message?);
    }
    let count = turn.machine.books.upcoming() - first;
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    Ok(turn.write(by, Body::Topic(TopicRecord::PublishedAll { topic, first, count }), marks))
}

/// Refuses a topic that is the server's own, and one more than there may be.
pub(crate) fn check_topic<'a, A: Archive>(turn: &Turn<'_, A>, topic: &'a str) -> Result<(), Denial<'a>> {
    if topic == TOPIC_LEDGER || topic.starts_with(RESERVED_PREFIX) {
        return Err(Denial::of_text(Code::TopicReserved, topic));
    }
    let lists = &turn.machine.topics.lists;
    if lists.number(topic).is_none() && lists.len() >= TOPICS_MAX {
        let most = TOPICS_MAX as i128;
        return Err(Denial { had: most, wanted: most + 1, ..Denial::of_text(Code::TooMany, topic) });
    }
    Ok(())
}

/// Publishes one event, which makes the topic if it is the first. Its record bears the key of what published it, but is not
/// found under it. The topic may be published in: see [`check_topic`].
pub(crate) fn publish<A: Archive>(turn: &mut Turn<'_, A>, by: &By<'_>, topic: &str, message: &Message<'_>) -> u64 {
    let offset = turn.write(by, Body::Topic(TopicRecord::Published { topic, message: *message }), Marks::default());
    list(turn, topic, offset, message.bytes());
    offset
}

/// Lists a record that is an event of a topic of the server's own.
pub(crate) fn publish_built_in<A: Archive>(turn: &mut Turn<'_, A>, topic: &str, offset: u64) {
    list(turn, topic, offset, BUILT_IN_BYTES);
}

fn list<A: Archive>(turn: &mut Turn<'_, A>, topic: &str, offset: u64, bytes: u64) {
    let topics = &mut turn.machine.topics;
    let number = topics.lists.number(topic).unwrap_or_else(|| {
        topics.lists.make(offset, topic);
        offset
    });
    topics.lists.append(number, offset, bytes, turn.stamp);
    topics.forget(number, turn.stamp, &mut turn.scratch.forgets_left);
    turn.scratch.woken.extend(topics.subscriptions.active(topic));
}
