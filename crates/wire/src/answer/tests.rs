use expect_test::{Expect, expect};
use machine::{After, Event, Exceptions, Opened, Runs};
use words::{Fingerprint, Position, Stamp, TransferId};

use super::*;

pub(crate) fn record<'a>(body: Body<'a>) -> Record<'a> {
    Record {
        position: Position { epoch: 1, index: 7 },
        stamp: Stamp::from_micros(1_700_000_000_000_001),
        principal: "p",
        key: "order/17",
        fingerprint: Fingerprint::from_bytes([0; 16]),
        waited_us: 0,
        body,
    }
}

pub(crate) fn moved(event: Event) -> Moved<'static> {
    let made = Stamp::from_micros(1_700_000_000_000_000);
    let is_hold = matches!(event, Event::Held | Event::Captured | Event::Voided | Event::Expired);
    let is_reversal = event == Event::Reversal;
    Moved {
        event,
        transfer: TransferId::new(7, made.millis(), 1),
        created: made,
        from: "alice",
        to: "shop/1",
        unit: "EUR",
        amount: 12,
        hold_until: is_hold.then(|| made.plus_ms(1_000)),
        reverses: is_reversal.then(|| TransferId::new(7, made.millis(), 0)),
        reversed_total: if is_reversal { 12 } else { 0 },
        memo: "",
        metadata: "",
        from_after: After { balance: -12, held: 0, version: 2, previous: 0 },
        to_after: After { balance: 12, held: 0, version: 2, previous: 0 },
    }
}

fn refusal(code: machine::Code) -> Refusal<'static> {
    Refusal { code, about: "alice", had: 5, wanted: 12 }
}

/// Checks an answer: its first line is status, outcome and content type, its second the body.
fn check(record: &Record<'_>, items: &[Item<'_>], expected: &Expect) {
    let answer = answer_of(record, items.iter().copied());
    let code = answer.code.map_or("-", Code::as_str);
    let body = String::from_utf8(answer.body.clone()).unwrap();
    let _: serde_json::Value = serde_json::from_str(&body).expect("every body is JSON");
    expected.assert_eq(&format!("{} {} {code} {}\n{body}", answer.status, answer.outcome, answer.content_type));
    assert_eq!(answer_of(record, items.iter().copied()), answer, "the same record, the same bytes");
}

#[test]
fn an_account() {
    let opened = Opened { id: "alice", unit: "EUR", floor: Some(-500), metadata: r#"{"a":1}"# };
    check(
        &record(Body::Opened(opened)),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"alice","unit":"EUR","floor":-500,"balance":0,"held":0,"available":0,"metadata":{"a":1},"created_at":"2023-11-14T22:13:20.000001Z","version":1}"#]],
    );
    let opened = Opened { id: "world", unit: "EUR", floor: None, metadata: "" };
    check(
        &record(Body::Opened(opened)),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"world","unit":"EUR","floor":null,"balance":0,"held":0,"available":0,"metadata":null,"created_at":"2023-11-14T22:13:20.000001Z","version":1}"#]],
    );
}

#[test]
fn transfers() {
    check(
        &record(Body::Moved(moved(Event::Posted))),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","balance_after":{"from":-12,"to":12}}"#]],
    );
    check(
        &record(Body::Moved(moved(Event::Held))),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"held","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","balance_after":{"from":-12,"to":12}}"#]],
    );
    check(
        &record(Body::Moved(moved(Event::Captured))),
        &[],
        &expect![[r#"
        200 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","balance_after":{"from":-12,"to":12}}"#]],
    );
    check(
        &record(Body::Moved(moved(Event::Voided))),
        &[],
        &expect![[r#"
        200 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"voided","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","hold_until":"2023-11-14T22:13:21.000000Z","balance_after":{"from":-12,"to":12}}"#]],
    );
    check(
        &record(Body::Moved(moved(Event::Reversal))),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","reverses":"018bcfe5-6800-7000-8000-000000020e7b","balance_after":{"from":-12,"to":12}}"#]],
    );
    let with_words = Moved {
        amount: i128::MAX as u128,
        memo: "a \"memo\"",
        metadata: r#"{"invoice":"17"}"#,
        ..moved(Event::Posted)
    };
    check(
        &record(Body::Moved(with_words)),
        &[],
        &expect![[r#"
        201 committed - application/json
        {"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":"170141183460469231731687303715884105727","state":"posted","memo":"a \"memo\"","metadata":{"invoice":"17"},"created_at":"2023-11-14T22:13:20.000000Z","balance_after":{"from":-12,"to":12}}"#]],
    );
}

#[test]
fn batches() {
    let batch = |atomic| record(Body::Batch { items: Runs::new(&[]), exceptions: Exceptions::new(&[]), atomic });
    let posted = record(Body::Moved(moved(Event::Posted)));
    let refused = record(Body::Refused(refusal(machine::Code::InsufficientFunds)));
    let items = [
        Item { key: "1", verdict: ItemVerdict::Decided(posted) },
        Item { key: "2", verdict: ItemVerdict::Decided(refused) },
        Item { key: "3", verdict: ItemVerdict::Refused(refusal(machine::Code::KeyReused)) },
        Item { key: "4", verdict: ItemVerdict::Decided(record(Body::Barred)) },
    ];
    check(
        &batch(false),
        &items,
        &expect![[r#"
        200 committed - application/json
        {"items":[{"key":"1","outcome":"committed","status":201,"transfer":{"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","balance_after":{"from":-12,"to":12}}},{"key":"2","outcome":"refused","status":422,"problem":{"type":"/errors/insufficient-funds","title":"Not enough is available","status":422,"detail":"Account alice has 5 available, and taking 12 would leave less than its floor.","code":"insufficient-funds","outcome":"refused","operation":"/v1/operations/2"}},{"key":"3","outcome":"refused","status":422,"problem":{"type":"/errors/idempotency-key-reused","title":"The key belongs to another request","status":422,"detail":"The key was first used with another request, which stays as it was.","code":"idempotency-key-reused","outcome":"refused","operation":"/v1/operations/3"}},{"key":"4","outcome":"refused","status":409,"problem":{"type":"/errors/operation-barred","title":"The operation was barred by settle","status":409,"detail":"The key was settled before its operation came, which now never will happen.","code":"operation-barred","outcome":"refused","operation":"/v1/operations/4"}}]}"#]],
    );
    check(
        &batch(true),
        &items[..1],
        &expect![[r#"
        200 committed - application/json
        {"items":[{"key":"1","outcome":"committed","status":201,"transfer":{"id":"018bcfe5-6800-7000-8000-00000007253e","from":"alice","to":"shop/1","unit":"EUR","amount":12,"state":"posted","memo":null,"metadata":null,"created_at":"2023-11-14T22:13:20.000000Z","balance_after":{"from":-12,"to":12}}}]}"#]],
    );
    let refusal = refusal(machine::Code::InsufficientFunds);
    check(
        &record(Body::BatchRefused { item: 3, item_key: "k-3", refusal }),
        &[],
        &expect![[r#"
        422 refused batch-refused application/problem+json
        {"type":"/errors/batch-refused","title":"An item was refused, and so the whole batch","status":422,"detail":"Item 3 (k-3) was refused with insufficient-funds: Account alice has 5 available, and taking 12 would leave less than its floor.","code":"batch-refused","outcome":"refused","operation":"/v1/operations/order%2F17","item":3,"item_key":"k-3","item_code":"insufficient-funds"}"#]],
    );
}

#[test]
fn a_barred_operation() {
    check(
        &record(Body::Barred),
        &[],
        &expect![[r#"
        409 refused operation-barred application/problem+json
        {"type":"/errors/operation-barred","title":"The operation was barred by settle","status":409,"detail":"The key was settled before its operation came, which now never will happen.","code":"operation-barred","outcome":"refused","operation":"/v1/operations/order%2F17"}"#]],
    );
}

#[test]
fn a_record_nobody_asked_for() {
    check(
        &record(Body::Claimed { node: "n" }),
        &[],
        &expect![[r#"
        500 uncertain internal application/problem+json
        {"type":"/errors/internal","title":"The server failed","status":500,"detail":"Something went wrong that should not have. Whether a write happened cannot be told from this answer.","code":"internal","outcome":"uncertain"}"#]],
    );
}

/// The wording is replayed byte for byte under old keys: a change here is a change of the contract.
#[test]
fn every_refusal_of_the_machine() {
    let mut text = String::new();
    for code in machine::Code::ALL {
        let answer = answer_of(&record(Body::Refused(refusal(code))), []);
        assert_eq!(answer.code, Some(Code::from(code)));
        text.push_str(&format!("{} {}\n", answer.status, Problem::of_refusal(&refusal(code), "k")));
    }
    expect![[r#"
        504 deadline-exceeded: The deadline passed before the operation's entry was appended.
        422 idempotency-key-reused: The key was first used with another request, which stays as it was.
        409 operation-barred: The key was settled before its operation came, which now never will happen.
        409 key-expired: The key carries its own time, and that is longer ago than decided keys are kept.
        400 amount-invalid: An amount is 1 to 2^127-1, and a hold lasts 1 ms to 366 days.
        422 same-account: From and to are the same account, alice.
        404 account-not-found: There is no account alice.
        409 account-exists: The account alice exists already.
        404 transfer-not-found: There is no transfer alice.
        422 unit-mismatch: Account alice counts another unit than the other account.
        409 hold-closed: Transfer alice is not held.
        422 exceeds-hold: Transfer alice holds 5, and 12 was asked for.
        422 exceeds-posted: Transfer alice has 5 left to reverse, and 12 was asked for.
        422 overflow: The balance of account alice would leave the range of -(2^127-1) to 2^127-1.
        422 insufficient-funds: Account alice has 5 available, and taking 12 would leave less than its floor.
        422 batch-refused: An item of the atomic batch was refused, and so all of it.
        409 not-uncertain: The call 5 is not uncertain.
        409 call-under-way: An attempt at the call 5 is under way, for 12 ms more at most.
        403 topic-reserved: The topic alice is the server's own.
        409 limit-reached: There are 5 topics or subscriptions already, and alice would be one more.
        404 subscription-not-found: There is no subscription alice.
        404 dead-letter-not-found: Subscription alice has no dead letter at offset 12.
        404 saga-not-found: There is no saga alice.
        409 limit-reached: There are 5 sagas already, and alice would be one more.
        404 run-not-found: There is no such run.
        409 run-not-possible: The run is in no state for this.
        409 run-past-pivot: The run is past its pivot and goes only forward.
        404 step-not-found: The run has no such step.
        409 limit-reached: A run of alice would be nested too deep.
        409 lease-capacity-mismatch: The lease alice has room for 5 while it is in use, and 12 was asked for.
        409 limit-reached: 5 hold leases or wait for one, or wait for alice, already: that is the most.
        409 lease-lost: The lease alice is not held under token 12; the newest it is held under is 5.
        409 lease-held: The lease alice is held by 5; the first of them expires in 12 ms if not renewed.
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_line_that_could_not_be_read() {
    let mut out = Vec::new();
    write_item_problem(&mut out, None, &Problem::of(Code::MalformedJson));
    expect![[r#"{"key":null,"outcome":"refused","status":400,"problem":{"type":"/errors/malformed-json","title":"The body is not JSON","status":400,"detail":"The body is not one JSON text in UTF-8; `line` and `column` say where it stops being one.","code":"malformed-json","outcome":"refused"}}"#]].assert_eq(&String::from_utf8(out).unwrap());
}
