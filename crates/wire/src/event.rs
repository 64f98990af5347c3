//! Events as strangers see them: CloudEvents 1.0 in the JSON Event Format, structured or batched.
//!
//! An event that was published with an `id` and a `source` of its own keeps them; else its source is the topic and its id
//! the offset. Topic and offset are told beside, as the extensions `tertiumtopic` and `tertiumoffset`, and the key as
//! `partitionkey` (the standard's Partitioning extension). The same record always gives the same bytes.

use machine::{Body, CallTried, Envelope, Message, Moved, Record, SagaRecord, TopicRecord};
use words::{CellName, Stamp};

use crate::instant::put_instant;
use crate::json::{put_escaped, put_plain, put_str, put_str_or_null, put_u64};
use crate::lease::write_event_data;
use crate::view::{Account, write_account, write_moved_event};

/// The content type of one event.
pub const EVENT_TYPE: &str = "application/cloudevents+json";

/// The content type of several events.
pub const EVENTS_TYPE: &str = "application/cloudevents-batch+json";

/// Where an event stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The cell it was published in.
    pub cell: &'a CellName,
    /// The topic.
    pub topic: &'a str,
    /// The ordinal of its record.
    pub offset: u64,
    /// When it was published.
    pub stamp: Stamp,
}

/// Appends the event that a record is; `false`, and nothing appended, if it is none.
pub fn write_event(out: &mut Vec<u8>, cell: &CellName, offset: u64, record: &Record<'_>) -> bool {
    let Some(Envelope { topic, kind, key }) = Envelope::of(record) else { return false };
    let place = Place { cell, topic, offset, stamp: record.stamp };
    match record.body {
        Body::Opened(ref opened) => {
            let message = Message { kind, key, subject: opened.id, ..Message::default() };
            write_head(out, &place, &message);
            out.extend_from_slice(b",\"data\":");
            write_account(out, &Account::opened(opened, record.stamp));
        }
        Body::Moved(ref moved) => write_moved(out, &place, kind, key, moved),
        Body::Topic(TopicRecord::Published { ref message, .. }) => {
            write_message(out, &place, message);
            return true;
        }
        Body::Topic(TopicRecord::Paused { name, failing_ms, evidence, .. }) => {
            write_head(out, &place, &Message { kind, key, subject: name, ..Message::default() });
            out.extend_from_slice(b",\"data\":{\"subscription\":");
            put_plain(out, name);
            out.extend_from_slice(b",\"failing_ms\":");
            put_u64(out, failing_ms);
            out.extend_from_slice(b",\"evidence\":");
            put_str(out, evidence);
            out.push(b'}');
        }
        Body::Lease(ref lease) => {
            write_head(out, &place, &Message { kind, key, subject: key, ..Message::default() });
            out.extend_from_slice(b",\"data\":");
            write_event_data(out, lease, record.stamp);
        }
        Body::CallTried(ref tried) => write_escalated(out, &place, kind, tried),
        Body::Saga(SagaRecord::Ended { id, why, .. }) => {
            let id = id.to_string();
            write_head(out, &place, &Message { kind, subject: &id, ..Message::default() });
            out.extend_from_slice(b",\"data\":{\"run\":");
            put_plain(out, &id);
            out.extend_from_slice(b",\"why\":");
            put_str_or_null(out, why.map_or("", |why| why.as_str()));
            out.push(b'}');
        }
        _ => return false,
    }
    out.push(b'}');
    true
}

fn write_moved(out: &mut Vec<u8>, place: &Place<'_>, kind: &str, key: &str, moved: &Moved<'_>) {
    let transfer = moved.transfer.to_ascii();
    let subject = std::str::from_utf8(&transfer).expect("a transfer id is written in ASCII");
    write_head(out, place, &Message { kind, key, subject, ..Message::default() });
    out.extend_from_slice(b",\"data\":");
    write_moved_event(out, moved);
}

fn write_escalated(out: &mut Vec<u8>, place: &Place<'_>, kind: &str, tried: &CallTried<'_>) {
    let number = tried.call.to_string();
    write_head(out, place, &Message { kind, subject: &number, ..Message::default() });
    out.extend_from_slice(b",\"data\":{\"call\":");
    put_u64(out, tried.call);
    out.extend_from_slice(b",\"attempt\":");
    put_u64(out, tried.attempt.into());
    out.extend_from_slice(b",\"found\":");
    put_plain(out, tried.finding.as_str());
    out.extend_from_slice(b",\"evidence\":");
    put_str(out, tried.evidence);
    out.push(b'}');
}

/// Appends an event that somebody published.
pub fn write_message(out: &mut Vec<u8>, place: &Place<'_>, message: &Message<'_>) {
    write_head(out, place, message);
    if let Some(inside) = message.attributes.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        out.push(b',');
        out.extend_from_slice(inside.as_bytes());
    }
    if !message.data.is_empty() {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(message.data.as_bytes());
    }
    out.push(b'}');
}

/// Everything up to the attributes that are the publisher's own.
fn write_head(out: &mut Vec<u8>, place: &Place<'_>, message: &Message<'_>) {
    let Place { cell, topic, offset, stamp } = *place;
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
    match message.id {
        "" => out.extend_from_slice(itoa::Buffer::new().format(offset).as_bytes()),
        id => put_escaped(out, id),
    }
    out.extend_from_slice(b"\",\"source\":\"");
    match message.source {
        "" => {
            out.extend_from_slice(b"/cells/");
            out.extend_from_slice(cell.as_str().as_bytes());
            out.extend_from_slice(b"/topics/");
            out.extend_from_slice(topic.as_bytes());
        }
        source => put_escaped(out, source),
    }
    out.extend_from_slice(b"\",\"type\":");
    put_str(out, message.kind);
    if !message.subject.is_empty() {
        out.extend_from_slice(b",\"subject\":");
        put_str(out, message.subject);
    }
    out.extend_from_slice(b",\"time\":");
    match message.time {
        "" => put_instant(out, stamp),
        time => put_str(out, time),
    }
    if !message.key.is_empty() {
        out.extend_from_slice(b",\"partitionkey\":");
        put_str(out, message.key);
    }
    out.extend_from_slice(b",\"tertiumtopic\":");
    put_plain(out, topic);
    // A text: an integer of CloudEvents has 32 bits.
    out.extend_from_slice(b",\"tertiumoffset\":\"");
    put_u64(out, offset);
    out.push(b'"');
}

/// An array of events that ends before it grows too large.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes_max: usize,
    count: usize,
    out: Vec<u8>,
}

impl Batch {
    /// Of at most so many bytes, brackets included; one event that is larger still goes alone.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, count: 0, out: vec![b'['] }
    }

    /// Adds what `write` appends. `false` says that it does not fit any more, and that it was taken away again.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.out.len();
        if self.count > 0 {
            self.out.push(b',');
        }
        write(&mut self.out);
        let fits = self.count == 0 || self.out.len() < self.bytes_max;
        if fits {
            self.count += 1;
        } else {
            self.out.truncate(before);
        }
        fits
    }

    /// How many events there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The array.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }
}

#[cfg(test)]
mod tests;
