//! Topics, subscriptions and dead letters as strangers see them.

use machine::{
    Body, DeadLettered, EventRecord, Record, Settings, SubscriptionView, Texts, TopicRecord, TopicRetention, TopicView,
};
use words::CellName;

use crate::answer::{Answer, STATUS_CREATED, STATUS_OK, committed};
use crate::codes::Code;
use crate::event::write_event;
use crate::instant::put_instant;
use crate::json::{put_plain, put_str, put_str_or_null, put_u64};
use crate::problem::Problem;

/// Renders what was decided about a topic or a subscription. A record that no caller has asked for has no answer of its own
/// and gives `internal`.
pub(crate) fn answer_of(record: &TopicRecord<'_>) -> Answer {
    let mut out = Vec::with_capacity(256);
    let mut status = STATUS_OK;
    match *record {
        TopicRecord::PublishedAll { topic, first, count } => {
            status = STATUS_CREATED;
            put_name(&mut out, b"{\"topic\":", topic);
            put_number(&mut out, b",\"first_offset\":", first);
            put_number(&mut out, b",\"last_offset\":", first + count.saturating_sub(1));
            put_number(&mut out, b",\"count\":", count);
        }
        TopicRecord::Kept { topic, retention } => {
            put_name(&mut out, b"{\"topic\":", topic);
            write_retention(&mut out, retention);
        }
        TopicRecord::Subscribed { name, number, generation, next, settings } => {
            status = if generation == 1 { STATUS_CREATED } else { STATUS_OK };
            put_name(&mut out, b"{\"name\":", name);
            put_number(&mut out, b",\"number\":", number);
            put_number(&mut out, b",\"generation\":", generation);
            write_settings(&mut out, &settings);
            put_number(&mut out, b",\"next_offset\":", next);
        }
        TopicRecord::Unsubscribed { name, .. } => put_name(&mut out, b"{\"name\":", name),
        TopicRecord::Acknowledged { name, next } => {
            put_name(&mut out, b"{\"name\":", name);
            put_number(&mut out, b",\"next_offset\":", next);
        }
        TopicRecord::LettersMoved { name, count, replay } => {
            put_name(&mut out, b"{\"name\":", name);
            put_number(&mut out, if replay { b",\"replayed\":" } else { b",\"dropped\":" }, count);
        }
        TopicRecord::Published { .. } | TopicRecord::DeadLettered(_) | TopicRecord::Paused { .. } => {
            return Problem::of(Code::Internal).answer();
        }
    }
    out.push(b'}');
    committed(status, out)
}

/// Appends a page of events: those records that are events, and from which offset to read on (`after`).
pub fn write_events(out: &mut Vec<u8>, cell: &CellName, events: &[EventRecord], next: u64, is_end: bool) {
    out.extend_from_slice(b"{\"items\":[");
    let mut is_first = true;
    for event in events {
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        match write_record(out, cell, event.offset, &event.record) {
            true => is_first = false,
            false => out.truncate(before),
        }
    }
    put_number(out, b"],\"next_offset\":", next);
    out.extend_from_slice(if is_end { b",\"end\":true}" } else { b",\"end\":false}" });
}

/// Appends the event of an encoded record; `false`, and nothing appended, if it is none.
pub fn write_record(out: &mut Vec<u8>, cell: &CellName, offset: u64, record: &[u8]) -> bool {
    Record::decode(record).is_ok_and(|record| write_event(out, cell, offset, &record))
}

/// Appends a page of topics; `next` is the name to begin after, `None` at the end.
pub fn write_topics(out: &mut Vec<u8>, topics: &[TopicView], next: Option<&str>) {
    write_page(out, topics, next, |out, topic| {
        put_name(out, b"{\"name\":", &topic.name);
        write_retention(out, topic.retention);
        put_number(out, b",\"events\":", topic.events);
        put_number(out, b",\"bytes\":", topic.bytes);
        put_number(out, b",\"first_offset\":", topic.floor);
        out.push(b'}');
    });
}

/// Appends a page of subscriptions; `next` is the name to begin after, `None` at the end.
pub fn write_subscriptions(out: &mut Vec<u8>, subscriptions: &[SubscriptionView], next: Option<&str>) {
    write_page(out, subscriptions, next, write_subscription);
}

/// Appends a subscription as it is now. Secrets are named, never told.
pub fn write_subscription(out: &mut Vec<u8>, view: &SubscriptionView) {
    put_name(out, b"{\"name\":", &view.name);
    put_number(out, b",\"number\":", view.number);
    put_number(out, b",\"generation\":", view.generation);
    write_settings(out, &view.settings());
    put_number(out, b",\"next_offset\":", view.next);
    out.extend_from_slice(b",\"resting\":");
    match view.rests {
        Some(rest) => put_plain(out, rest.as_str()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"failing_since\":");
    match view.failing_since {
        Some(since) => put_instant(out, since),
        None => out.extend_from_slice(b"null"),
    }
    put_number(out, b",\"parked\":", view.parked);
    put_number(out, b",\"dead_letters\":", view.dead_letters);
    put_number(out, b",\"delivered\":", view.delivered);
    put_number(out, b",\"forgotten\":", view.forgotten);
    put_number(out, b",\"records_behind\":", view.behind);
    out.push(b'}');
}

/// An event that was given up: its offset, the record that says why, and its own, both encoded.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The event's offset.
    pub offset: u64,
    /// Why.
    pub why: &'a [u8],
    /// What.
    pub event: &'a [u8],
}

/// Appends a page of dead letters; `next` is the offset to begin at, `None` at the end.
pub fn write_dead_letters<'a>(
    out: &mut Vec<u8>,
    cell: &CellName,
    letters: impl IntoIterator<Item = DeadLetter<'a>>,
    next: Option<u64>,
) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, letter) in letters.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_dead_letter(out, cell, &letter);
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(next) => put_plain(out, itoa::Buffer::new().format(next)),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

fn write_dead_letter(out: &mut Vec<u8>, cell: &CellName, letter: &DeadLetter<'_>) {
    put_number(out, b"{\"offset\":", letter.offset);
    if let Ok(Record { stamp, body: Body::Topic(TopicRecord::DeadLettered(why)), .. }) = Record::decode(letter.why) {
        let DeadLettered { attempts, status, evidence, .. } = why;
        put_number(out, b",\"attempts\":", attempts);
        put_number(out, b",\"status\":", status.into());
        out.extend_from_slice(b",\"evidence\":");
        put_str(out, evidence);
        out.extend_from_slice(b",\"at\":");
        put_instant(out, stamp);
    }
    out.extend_from_slice(b",\"event\":");
    if !write_record(out, cell, letter.offset, letter.event) {
        out.extend_from_slice(b"null");
    }
    out.push(b'}');
}

fn write_retention(out: &mut Vec<u8>, retention: TopicRetention) {
    put_number(out, b",\"retention_ms\":", retention.ms);
    out.extend_from_slice(b",\"bytes_max\":");
    match retention.bytes_max {
        Some(bytes_max) => put_u64(out, bytes_max),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_settings(out: &mut Vec<u8>, settings: &Settings<'_>) {
    write_texts(out, b",\"topics\":", settings.topics);
    write_texts(out, b",\"types\":", settings.prefixes);
    out.extend_from_slice(b",\"url\":");
    put_str_or_null(out, settings.url);
    write_texts(out, b",\"secrets\":", settings.secrets);
    put_number(out, b",\"pause_after_ms\":", settings.pause_after_ms);
    out.extend_from_slice(if settings.paused { b",\"paused\":true" } else { b",\"paused\":false" });
}

fn write_texts(out: &mut Vec<u8>, name: &[u8], texts: Texts<'_>) {
    out.extend_from_slice(name);
    out.push(b'[');
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_str(out, text);
    }
    out.push(b']');
}

fn write_page<T>(out: &mut Vec<u8>, items: &[T], next: Option<&str>, write: impl Fn(&mut Vec<u8>, &T)) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.extend_from_slice(b"],\"next\":");
    put_str_or_null(out, next.unwrap_or_default());
    out.push(b'}');
}

fn put_name(out: &mut Vec<u8>, before: &[u8], name: &str) {
    out.extend_from_slice(before);
    put_plain(out, name);
}

fn put_number(out: &mut Vec<u8>, before: &[u8], n: u64) {
    out.extend_from_slice(before);
    put_u64(out, n);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use machine::Message;

    use super::*;

    fn settings<'a>(topics: &'a [u8], secrets: &'a [u8], url: &'a str) -> Settings<'a> {
        let (topics, secrets) = (Texts::new(topics), Texts::new(secrets));
        Settings { topics, prefixes: Texts::NONE, url, secrets, pause_after_ms: 60_000, paused: false }
    }

    fn check(record: TopicRecord<'_>, status: u16, expected: &Expect) {
        let answer = answer_of(&record);
        assert_eq!(answer.status, status, "{record:?}");
        expected.assert_eq(&String::from_utf8(answer.body).unwrap());
    }

    #[test]
    fn answers() {
        let (mut topics, mut secrets) = (Vec::new(), Vec::new());
        ["orders", "ledger"].iter().for_each(|topic| Texts::push(&mut topics, topic));
        Texts::push(&mut secrets, "billing");
        let push = settings(&topics, &secrets, "https://r/");
        let pull = settings(&topics, &[], "");
        let made =
            |generation, settings| TopicRecord::Subscribed { name: "s", number: 3, generation, next: 4, settings };
        let retention = TopicRetention { ms: 60_000, bytes_max: None };
        check(
            TopicRecord::PublishedAll { topic: "orders", first: 7, count: 2 },
            201,
            &expect![[r#"{"topic":"orders","first_offset":7,"last_offset":8,"count":2}"#]],
        );
        check(
            TopicRecord::Kept { topic: "orders", retention },
            200,
            &expect![[r#"{"topic":"orders","retention_ms":60000,"bytes_max":null}"#]],
        );
        check(
            made(1, push),
            201,
            &expect![[
                r#"{"name":"s","number":3,"generation":1,"topics":["orders","ledger"],"types":[],"url":"https://r/","secrets":["billing"],"pause_after_ms":60000,"paused":false,"next_offset":4}"#
            ]],
        );
        check(
            made(2, pull),
            200,
            &expect![[
                r#"{"name":"s","number":3,"generation":2,"topics":["orders","ledger"],"types":[],"url":null,"secrets":[],"pause_after_ms":60000,"paused":false,"next_offset":4}"#
            ]],
        );
        check(TopicRecord::Unsubscribed { name: "s", number: 3 }, 200, &expect![[r#"{"name":"s"}"#]]);
        check(TopicRecord::Acknowledged { name: "s", next: 9 }, 200, &expect![[r#"{"name":"s","next_offset":9}"#]]);
        check(
            TopicRecord::LettersMoved { name: "s", count: 2, replay: true },
            200,
            &expect![[r#"{"name":"s","replayed":2}"#]],
        );
        check(
            TopicRecord::LettersMoved { name: "s", count: 2, replay: false },
            200,
            &expect![[r#"{"name":"s","dropped":2}"#]],
        );
        let nobody_asked = TopicRecord::Published { topic: "orders", message: Message::default() };
        assert_eq!(answer_of(&nobody_asked).code, Some(Code::Internal));
    }
}
