//! Reading forward: which events of some topics come next.
//!
//! Topics that are lists are merged by offset. With the ledger among them every record is looked at, because its events have
//! no list; what a topic has forgotten is left out either way.

use crate::archive::{Archive, Fault};
use crate::books::damaged;
use crate::machine::{Machine, PAGE_BYTES_MAX};
use crate::record::Record;

use super::envelope::{Envelope, TOPIC_LEDGER};

/// The most records that are looked at in one go.
pub const SCAN_RECORDS_MAX: usize = 1_024;

/// An event, as it lies in the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRecord {
    /// The ordinal of its record.
    pub offset: u64,
    /// Its key, or empty.
    pub key: Box<str>,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scan {
    pub(crate) events: Vec<EventRecord>,
    /// Everything below was looked at.
    pub(crate) scanned: u64,
}

/// The events of `topics` from the offset `from` on which `wants` says yes to, at most `limit` and about
/// [`PAGE_BYTES_MAX`] bytes of them.
pub(crate) fn scan<A: Archive>(
    machine: &Machine,
    archive: &A,
    topics: &[&str],
    from: u64,
    limit: usize,
    wants: impl Fn(u64, &Envelope<'_>) -> bool,
) -> Result<Scan, Fault> {
    let mut found = Scan { events: Vec::new(), scanned: from };
    if limit == 0 {
        return Ok(found);
    }
    let mut bytes = 0;
    for (looked_at, offset) in candidates(machine, topics, from).enumerate() {
        if found.events.len() == limit || looked_at == SCAN_RECORDS_MAX || bytes >= PAGE_BYTES_MAX {
            return Ok(found);
        }
        if let Some(event) = read(machine, archive, topics, offset, &wants)? {
            bytes += event.record.len();
            found.events.push(event);
        }
        found.scanned = offset + 1;
    }
    found.scanned = machine.books.next_ordinal.max(from);
    Ok(found)
}

/// The event at an offset, if it is one of these topics, still kept and wanted.
fn read<A: Archive>(
    machine: &Machine,
    archive: &A,
    topics: &[&str],
    offset: u64,
    wants: impl Fn(u64, &Envelope<'_>) -> bool,
) -> Result<Option<EventRecord>, Fault> {
    let mut event = Ok(None);
    archive.read(offset, &mut |bytes| {
        event = Record::decode(bytes).map(|record| {
            let envelope = Envelope::of(&record)?;
            let is_kept = || machine.topics.lists.find(envelope.topic).is_none_or(|topic| topic.floor <= offset);
            let is_wanted = topics.contains(&envelope.topic) && is_kept() && wants(offset, &envelope);
            is_wanted.then(|| EventRecord { offset, key: envelope.key.into(), record: bytes.to_vec() })
        });
    })?;
    event.map_err(damaged)
}

/// Offsets that may be events of these topics, in order, each once.
fn candidates<'m>(machine: &'m Machine, topics: &[&str], from: u64) -> Box<dyn Iterator<Item = u64> + 'm> {
    let lists = &machine.topics.lists;
    if topics.contains(&TOPIC_LEDGER) {
        return Box::new(from..machine.books.next_ordinal);
    }
    let mut numbers: Vec<u64> = topics.iter().filter_map(|topic| lists.number(topic)).collect();
    numbers.dedup();
    let mut lists: Vec<_> = numbers.into_iter().map(|number| lists.offsets(number, from).peekable()).collect();
    Box::new(std::iter::from_fn(move || {
        let next = lists.iter_mut().filter_map(|list| list.peek().copied()).min()?;
        for list in &mut lists {
            list.next_if_eq(&next);
        }
        Some(next)
    }))
}
