//! Dead letters, put up for delivery again or forgotten, by a person.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::books::damaged;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::{Body, Record};
use crate::refusal::Code;
use crate::turn::Turn;

use super::record::TopicRecord;
use super::subscribe::{find, wake, write};

/// Moves one dead letter, or all of a subscription's.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    offset: Option<u64>,
    replay: bool,
) -> Result<u64, Stop<'a>> {
    let number = find(turn, name)?;
    let subscription = turn.machine.topics.subscriptions.get(number).expect("it was found just now");
    let letters: Vec<(u64, u64)> = match offset {
        None => subscription.dead.iter().map(|(offset, record)| (*offset, *record)).collect(),
        Some(offset) => {
            let record = subscription.dead.get(&offset);
            let missing = || Denial { wanted: offset.into(), ..Denial::of_text(Code::DeadLetterNotFound, name) };
            vec![(offset, *record.ok_or_else(missing)?)]
        }
    };
    let mut keys = Vec::with_capacity(letters.len());
    for (_, record) in &letters {
        keys.push(if replay { key_of(turn, *record)? } else { String::new() });
    }
    turn.machine.topics.subscriptions.change(number, |subscription| {
        for ((offset, _), key) in letters.iter().zip(&keys) {
            match replay {
                true => subscription.revive(*offset, key),
                false => drop(subscription.dead.remove(offset)),
            }
        }
    });
    wake(turn, number);
    let count = letters.len() as u64;
    Ok(write(turn, by, Body::Topic(TopicRecord::LettersMoved { name, count, replay })))
}

/// The key of the event that a dead letter is of.
fn key_of<A: Archive>(turn: &Turn<'_, A>, record: u64) -> Result<String, ApplyError> {
    let mut key = Ok(String::new());
    turn.archive.read(record, &mut |bytes| {
        key = Record::decode(bytes).map(|record| match record.body {
            Body::Topic(TopicRecord::DeadLettered(letter)) => letter.key.to_owned(),
            _ => String::new(),
        });
    })?;
    Ok(key.map_err(damaged)?)
}
