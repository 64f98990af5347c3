use expect_test::{Expect, expect};
use machine::{After, Event, Opened};
use proptest::prelude::*;
use serde_json::Value;
use words::{Fingerprint, Position, TransferId};

use super::*;
use crate::request::{EventForm, parse_events};

fn cell() -> CellName {
    CellName::new("main").unwrap()
}

fn record(body: Body<'_>) -> Record<'_> {
    Record {
        position: Position { epoch: 1, index: 2 },
        stamp: Stamp::from_micros(1_700_000_000_000_000),
        principal: "p",
        key: "k",
        fingerprint: Fingerprint::of(b""),
        waited_us: 0,
        body,
    }
}

fn moved(event: Event) -> Moved<'static> {
    Moved {
        event,
        transfer: TransferId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        created: Stamp::from_micros(1_700_000_000_000_000),
        from: "alice",
        to: "bob",
        unit: "GBP",
        amount: 5,
        hold_until: None,
        reverses: None,
        reversed_total: 0,
        memo: "",
        metadata: "",
        from_after: After { balance: -5, held: 0, version: 4, previous: 1 },
        to_after: After { balance: 5, held: 0, version: 9, previous: 2 },
    }
}

fn check(expected: &Expect, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["specversion"], "1.0");
    expected.assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn events_of_the_ledger() {
    let opened = Opened { id: "a/b", unit: "GBP", floor: None, metadata: r#"{"x":1}"# };
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"7","source":"/cells/main/topics/ledger","type":"tertium.account.opened","subject":"a/b","time":"2023-11-14T22:13:20.000000Z","partitionkey":"a/b","tertiumtopic":"ledger","tertiumoffset":"7","data":{"id":"a/b","unit":"GBP","floor":null,"balance":0,"held":0,"available":0,"metadata":{"x":1},"created_at":"2023-11-14T22:13:20.000000Z","version":1}}"#
        ]],
        |out| {
            assert!(write_event(out, &cell(), 7, &record(Body::Opened(opened))));
        },
    );
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"8","source":"/cells/main/topics/ledger","type":"tertium.transfer.posted","subject":"01890a5d-ac96-774b-bcce-b302099a8057","time":"2023-11-14T22:13:20.000000Z","partitionkey":"alice","tertiumtopic":"ledger","tertiumoffset":"8","data":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","from":"alice","to":"bob","unit":"GBP","amount":5,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","balance_after":{"from":-5,"to":5},"account_version":{"from":4,"to":9}}}"#
        ]],
        |out| {
            assert!(write_event(out, &cell(), 8, &record(Body::Moved(moved(Event::Posted)))));
        },
    );
}

#[test]
fn the_type_says_what_happened() {
    for (event, kind) in [
        (Event::Posted, "tertium.transfer.posted"),
        (Event::Held, "tertium.transfer.held"),
        (Event::Captured, "tertium.transfer.captured"),
        (Event::Voided, "tertium.transfer.voided"),
        (Event::Expired, "tertium.transfer.expired"),
        (Event::Reversal, "tertium.transfer.reversed"),
    ] {
        let mut out = Vec::new();
        assert!(write_event(&mut out, &cell(), 1, &record(Body::Moved(moved(event)))));
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((value["type"].as_str(), value["partitionkey"].as_str()), (Some(kind), Some("alice")));
    }
    let mut out = Vec::new();
    assert!(!write_event(&mut out, &cell(), 1, &record(Body::Barred)));
    assert!(out.is_empty());
}

#[test]
fn events_that_were_published() {
    let cell = cell();
    let place = Place { cell: &cell, topic: "orders/eu", offset: 12, stamp: Stamp::from_micros(1_700_000_000_000_000) };
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"12","source":"/cells/main/topics/orders/eu","type":"t","time":"2023-11-14T22:13:20.000000Z","tertiumtopic":"orders/eu","tertiumoffset":"12"}"#
        ]],
        |out| write_message(out, &place, &Message { kind: "t", ..Message::default() }),
    );
    let whole = Message {
        kind: "t",
        key: "k\"",
        id: "i\\",
        source: "/s",
        subject: "é",
        time: "2026-01-31T12:00:00Z",
        attributes: r#"{"zone":"z"}"#,
        data: "[1]",
    };
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"i\\","source":"/s","type":"t","subject":"é","time":"2026-01-31T12:00:00Z","partitionkey":"k\"","tertiumtopic":"orders/eu","tertiumoffset":"12","zone":"z","data":[1]}"#
        ]],
        |out| write_message(out, &place, &whole),
    );
}

#[test]
fn events_that_need_a_person() {
    let paused = TopicRecord::Paused { name: "a/b", number: 1, failing_ms: 60_000, evidence: "answered \"500\"" };
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"9","source":"/cells/main/topics/tertium.escalations","type":"tertium.subscription.paused","subject":"a/b","time":"2023-11-14T22:13:20.000000Z","partitionkey":"a/b","tertiumtopic":"tertium.escalations","tertiumoffset":"9","data":{"subscription":"a/b","failing_ms":60000,"evidence":"answered \"500\""}}"#
        ]],
        |out| assert!(write_event(out, &cell(), 9, &record(Body::Topic(paused)))),
    );
    let tried = CallTried {
        call: 5,
        previous: 5,
        phase: machine::Phase::Call,
        attempt: 1,
        tries: 3,
        finding: machine::Finding::Uncertain,
        status: 0,
        escalated: true,
        evidence: "closed",
    };
    check(
        &expect![[
            r#"{"specversion":"1.0","id":"10","source":"/cells/main/topics/tertium.escalations","type":"tertium.call.escalated","subject":"5","time":"2023-11-14T22:13:20.000000Z","tertiumtopic":"tertium.escalations","tertiumoffset":"10","data":{"call":5,"attempt":1,"found":"uncertain","evidence":"closed"}}"#
        ]],
        |out| assert!(write_event(out, &cell(), 10, &record(Body::CallTried(tried)))),
    );
    let mut out = Vec::new();
    assert!(!write_event(&mut out, &cell(), 10, &record(Body::CallTried(CallTried { escalated: false, ..tried }))));
}

#[test]
fn a_batch_ends_before_it_is_too_large() {
    let mut batch = Batch::new(12);
    assert!(batch.is_empty());
    assert!(batch.push(|out| out.extend_from_slice(b"\"too large\"")), "one alone always fits");
    assert!(!batch.push(|out| out.push(b'1')));
    assert_eq!(batch.finish(), br#"["too large"]"#);
    let mut batch = Batch::new(7);
    let pushed: Vec<bool> = (0..4).map(|n| batch.push(|out| put_u64(out, n))).collect();
    assert_eq!((pushed, batch.len()), (vec![true, true, true, false], 3));
    let bytes = batch.finish();
    assert_eq!((bytes.as_slice(), bytes.len()), (b"[0,1,2]".as_slice(), 7));
    assert_eq!(Batch::new(0).finish(), b"[]");
}

proptest! {
    /// A CloudEvent that came in leaves with every attribute it had.
    #[test]
    fn an_event_keeps_its_attributes(
        texts in prop::array::uniform3("[!-~]{1,12}"),
        subject in prop::option::of("[a-zé \"]{1,9}"),
        key in prop::option::of("[!-~]{1,9}"),
        extensions in prop::collection::btree_map("x[a-z0-9]{1,9}", prop_oneof![
            "[a-zé\"]{1,9}".prop_map(Value::from), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from),
        ], 0..4),
        data in prop::option::of(prop::collection::btree_map("[a-z]{1,3}", any::<i32>(), 0..3)),
    ) {
        let mut event = serde_json::Map::new();
        event.insert("specversion".into(), "1.0".into());
        for (name, text) in ["id", "source", "type"].into_iter().zip(texts) {
            event.insert(name.into(), text.into());
        }
        event.extend(subject.map(|subject| ("subject".into(), subject.into())));
        event.extend(key.map(|key| ("partitionkey".into(), key.into())));
        event.insert("time".into(), "2026-01-31T12:00:00Z".into());
        event.extend(extensions);
        event.extend(data.map(|data| ("data".into(), data.into_iter().collect())));
        let events = parse_events(EventForm::Structured, Value::Object(event.clone()).to_string().as_bytes()).unwrap();
        let message = events.messages().iter().next().unwrap().unwrap();
        let cell = cell();
        let place = Place { cell: &cell, topic: "t", offset: 1, stamp: Stamp::ZERO };
        let mut out = Vec::new();
        write_message(&mut out, &place, &message);
        let mut told: serde_json::Map<String, Value> = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(told.remove("tertiumtopic"), Some("t".into()));
        prop_assert_eq!(told.remove("tertiumoffset"), Some("1".into()));
        prop_assert_eq!(told, event);
    }
}
