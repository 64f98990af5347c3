//! A step that is an event: published in the entry that notes the step as done.

use crate::archive::Archive;
use crate::inbox::By;
use crate::ledger::Stop;
use crate::topic::Message;
use crate::topic::publish::{check_topic, publish as publish_message};
use crate::turn::Turn;

use super::order::StepEvent;
use super::step::check_unused;

/// Publishes the event of a step. Gives the record.
pub(super) fn publish<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    event: &StepEvent<'a>,
) -> Result<u64, Stop<'a>> {
    check_unused(turn, by)?;
    check_topic(turn, event.topic)?;
    let StepEvent { topic, kind, subject, key, data } = *event;
    let message = Message { kind, key, subject, data, ..Message::default() };
    Ok(publish_message(turn, by, topic, &message))
}
