//! Decided operations as strangers see them. The same record always gives the same bytes: that is what a replay is.

use machine::{Body, Moved, Record, Refusal};
use words::Outcome;

use crate::call;
use crate::codes::Code;
use crate::json::{put_plain, put_str, put_u64};
use crate::lease;
use crate::problem::Problem;
use crate::saga;
use crate::topic;
use crate::view::{Account, Operation, write_account, write_operation, write_transfer};

/// The content type of every answer that is no problem.
pub const JSON_TYPE: &str = "application/json";

/// The HTTP status of a transfer that was made, alone or in a batch.
pub(crate) const STATUS_CREATED: u16 = 201;
pub(crate) const STATUS_OK: u16 = 200;

/// What is sent back, without the headers that differ from one time to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type of the body.
    pub content_type: &'static str,
    /// For `Tertium-Outcome`.
    pub outcome: Outcome,
    /// Why it is no success; absent for a success.
    pub code: Option<Code>,
    /// The body.
    pub body: Vec<u8>,
}

/// One item of a batch or of a stream, as it was decided.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The item's own key.
    pub key: &'a str,
    /// What became of it.
    pub verdict: ItemVerdict<'a>,
}

/// What became of an item.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack, and nearly all are Decided")]
pub enum ItemVerdict<'a> {
    /// It has a record: decided now, or earlier under the same key.
    Decided(Record<'a>),
    /// It was refused and nothing is remembered under its key.
    Refused(Refusal<'a>),
    /// It never reached the machine, or nobody knows whether it did.
    Problem(&'a Problem),
}

/// Renders a decided operation. `items` are those of a batch in their order, and empty for everything else.
///
/// A record that no caller has asked for (a claim, a setting) has no answer of its own and gives `internal`.
pub fn answer_of<'a>(record: &Record<'a>, items: impl IntoIterator<Item = Item<'a>>) -> Answer {
    match record.body {
        Body::Opened(ref opened) => {
            let mut body = Vec::with_capacity(256 + opened.metadata.len());
            write_account(&mut body, &Account::opened(opened, record.stamp));
            committed(STATUS_CREATED, body)
        }
        Body::Moved(ref moved) => {
            let mut body = Vec::with_capacity(512 + moved.memo.len() + moved.metadata.len());
            write_transfer(&mut body, moved);
            committed(status_of(moved), body)
        }
        Body::Refused(ref refusal) => Problem::of_refusal(refusal, record.key).answer(),
        Body::Batch { .. } => {
            let mut body = Vec::with_capacity(4_096);
            write_items(&mut body, items);
            committed(STATUS_OK, body)
        }
        Body::BatchRefused { item, item_key, ref refusal } => {
            Problem::of_batch(item, item_key, refusal, record.key).answer()
        }
        Body::Barred => Problem::of_barred(record.key).answer(),
        Body::CallAccepted(_) => pending(record.key),
        Body::CallEnded(ref ended) => call::answer_of(ended, record.key),
        Body::Resolved { call, committed: was_done, .. } => {
            let mut body = Vec::with_capacity(64);
            call::write_resolved(&mut body, call, was_done);
            committed(STATUS_OK, body)
        }
        Body::Claimed { .. } | Body::Configured { .. } | Body::CallTried(_) => Problem::of(Code::Internal).answer(),
        Body::Saga(ref record_of) => saga::answer_of(record_of, record.key),
        Body::Topic(ref record) => topic::answer_of(record),
        Body::Lease(ref lease) => lease::answer_of(lease, record),
    }
}

/// Appends `{"items":[...]}`.
pub fn write_items<'a>(out: &mut Vec<u8>, items: impl IntoIterator<Item = Item<'a>>) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_item(out, &item);
    }
    out.extend_from_slice(b"]}");
}

/// Appends one item: `{"key":..,"outcome":..,"status":..,"transfer"|"problem":{..}}`. With a line feed after it,
/// this is the answer to one line of an NDJSON stream.
pub fn write_item(out: &mut Vec<u8>, item: &Item<'_>) {
    match item.verdict {
        ItemVerdict::Decided(Record { body: Body::Moved(ref moved), .. }) => {
            write_item_head(out, Some(item.key), Outcome::Committed, status_of(moved));
            out.extend_from_slice(b",\"transfer\":");
            write_transfer(out, moved);
            out.push(b'}');
        }
        ItemVerdict::Decided(Record { body: Body::Refused(ref refusal), .. }) => {
            write_item_problem(out, Some(item.key), &Problem::of_refusal(refusal, item.key));
        }
        ItemVerdict::Decided(Record { body: Body::Barred, .. }) => {
            write_item_problem(out, Some(item.key), &Problem::of_barred(item.key));
        }
        // An item is a transfer: its key can lead to no other kind of record.
        ItemVerdict::Decided(_) => write_item_problem(out, Some(item.key), &Problem::of(Code::Internal)),
        ItemVerdict::Refused(ref refusal) => {
            write_item_problem(out, Some(item.key), &Problem::of_refusal(refusal, item.key));
        }
        ItemVerdict::Problem(problem) => write_item_problem(out, Some(item.key), problem),
    }
}

/// Appends an item that was refused or is uncertain; `key` is `null` where the item could not be read so far.
pub fn write_item_problem(out: &mut Vec<u8>, key: Option<&str>, problem: &Problem) {
    write_item_head(out, key, problem.outcome(), problem.code.status());
    out.extend_from_slice(b",\"problem\":");
    problem.write_json(out);
    out.push(b'}');
}

fn write_item_head(out: &mut Vec<u8>, key: Option<&str>, outcome: Outcome, status: u16) {
    out.extend_from_slice(b"{\"key\":");
    match key {
        Some(key) => put_str(out, key),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"outcome\":");
    put_plain(out, outcome.as_str());
    out.extend_from_slice(b",\"status\":");
    put_u64(out, status.into());
}

/// 201 for what made a transfer, 200 for what changed one.
pub(crate) const fn status_of(moved: &Moved<'_>) -> u16 {
    use machine::Event;
    match moved.event {
        Event::Posted | Event::Held | Event::Reversal => STATUS_CREATED,
        Event::Captured | Event::Voided | Event::Expired => STATUS_OK,
    }
}

/// `202`: accepted, and where to ask for what becomes of it.
pub fn pending(key: &str) -> Answer {
    let operation = Operation {
        key,
        outcome: Outcome::Uncertain,
        status: 202,
        body: b"",
        position: None,
        received: None,
        decided: None,
        expires: None,
        replays: 0,
        joins: 0,
    };
    let mut body = Vec::with_capacity(256);
    write_operation(&mut body, &operation);
    Answer { status: 202, content_type: JSON_TYPE, outcome: Outcome::Uncertain, code: None, body }
}

pub(crate) const fn committed(status: u16, body: Vec<u8>) -> Answer {
    Answer { status, content_type: JSON_TYPE, outcome: Outcome::Committed, code: None, body }
}

#[cfg(test)]
pub(crate) mod tests;
