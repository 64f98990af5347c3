use expect_test::{Expect, expect};

use super::*;
use crate::answer::tests::{moved, record};
use crate::cursor::List;

fn check(write: impl Fn(&mut Vec<u8>), expected: &Expect) {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    let _: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    expected.assert_eq(&text);
}

fn account() -> Account<'static> {
    Account {
        id: "alice",
        unit: "EUR",
        floor: Some(0),
        balance: 1 << 60,
        held: 7,
        metadata: "",
        created: Stamp::from_micros(1),
        version: 3,
    }
}

#[test]
fn accounts() {
    let next = Cursor::new(List::Accounts, "", 2);
    check(
        |out| write_accounts(out, [account(), account()], Some(&next)),
        &expect![[
            r#"{"items":[{"id":"alice","unit":"EUR","floor":0,"balance":"1152921504606846976","held":7,"available":"1152921504606846969","metadata":null,"created_at":"1970-01-01T00:00:00.000001Z","version":3},{"id":"alice","unit":"EUR","floor":0,"balance":"1152921504606846976","held":7,"available":"1152921504606846969","metadata":null,"created_at":"1970-01-01T00:00:00.000001Z","version":3}],"next":"01010000000000000002ee072325"}"#
        ]],
    );
    check(|out| write_accounts(out, [], None), &expect![[r#"{"items":[],"next":null}"#]]);
}

#[test]
fn extremes_saturate() {
    let account = Account { balance: -i128::MAX, held: i128::MAX, ..account() };
    assert_eq!(account.available(), i128::MIN);
}

/// Each side of a transfer sees its own balance.
#[test]
fn a_history() {
    let opening = machine::Opened { id: "alice", unit: "EUR", floor: None, metadata: "" };
    let records = [
        record(Body::Moved(moved(Event::Captured))),
        record(Body::Moved(moved(Event::Held))),
        record(Body::Opened(opening)),
    ];
    check(
        |out| write_history(out, "alice", records, None),
        &expect![[
            r#"{"items":[{"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","event":"captured","at":"2023-11-14T22:13:20.000001Z","balance_after":-12},{"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"held","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","event":"held","at":"2023-11-14T22:13:20.000001Z","balance_after":-12}],"next":null}"#
        ]],
    );
    check(
        |out| write_history(out, "shop/1", records[..1].iter().copied(), None),
        &expect![[
            r#"{"items":[{"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","event":"captured","at":"2023-11-14T22:13:20.000001Z","balance_after":12}],"next":null}"#
        ]],
    );
}

#[test]
fn operations() {
    let cell = CellName::new("main").unwrap();
    let decided = Operation {
        key: "order \"17\"",
        outcome: Outcome::Committed,
        status: 201,
        body: b"{\"id\":\"alice\"}",
        position: Some((&cell, Position { epoch: 1, index: 7 })),
        received: None,
        decided: Some(Stamp::from_micros(1_000_000)),
        expires: Some(Stamp::from_micros(2_000_000)),
        replays: 2,
        joins: 1,
    };
    check(
        |out| write_operation(out, &decided),
        &expect![[
            r#"{"key":"order \"17\"","outcome":"committed","status":201,"body":{"id":"alice"},"position":"main:1:7","received_at":null,"decided_at":"1970-01-01T00:00:01.000000Z","expires_at":"1970-01-01T00:00:02.000000Z","replays":2,"joins":1}"#
        ]],
    );
    let in_flight = Operation {
        key: "k",
        outcome: Outcome::Uncertain,
        status: 202,
        body: b"",
        position: None,
        received: Some(Stamp::from_micros(1)),
        decided: None,
        expires: None,
        replays: 0,
        joins: 0,
    };
    check(
        |out| write_operation(out, &in_flight),
        &expect![[
            r#"{"key":"k","outcome":"uncertain","status":202,"body":null,"position":null,"received_at":"1970-01-01T00:00:00.000001Z","decided_at":null,"expires_at":null,"replays":0,"joins":0}"#
        ]],
    );
}

#[test]
fn readiness() {
    let cell = CellName::new("main").unwrap();
    let position = (&cell, Position { epoch: 1, index: 7 });
    let ready =
        Ready { ready: true, role: "leader", node: "a", epoch: 1, leader: "a", position, lag_ms: 0, reason: "" };
    check(
        |out| write_ready(out, &ready),
        &expect![[
            r#"{"ready":true,"role":"leader","node":"a","epoch":1,"leader":"a","position":"main:1:7","lag_ms":0,"reason":null}"#
        ]],
    );
    let not_yet = Ready {
        ready: false,
        role: "recovering",
        node: "a",
        epoch: 0,
        leader: "",
        position,
        lag_ms: 12,
        reason: "replaying the log",
    };
    check(
        |out| write_ready(out, &not_yet),
        &expect![[
            r#"{"ready":false,"role":"recovering","node":"a","epoch":0,"leader":null,"position":"main:1:7","lag_ms":12,"reason":"replaying the log"}"#
        ]],
    );
}
