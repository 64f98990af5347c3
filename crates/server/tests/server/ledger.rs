//! The ledger as strangers use it: accounts, holds, reversals, batches, and what is refused.

use serde_json::{Value, json};

use crate::kit::{Server, transfer};

fn make(server: &Server, key: &str, body: &Value) -> String {
    let answer = server.post("/v1/transfers", key, &body.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn refuse(server: &Server, path: &str, key: &str, body: &str, status: u16, code: &str) {
    for replayed in [None, Some("true")] {
        let answer = server.post(path, key, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        assert_eq!(answer.header("idempotency-replayed"), replayed, "remembered like a success: {answer:?}");
    }
}

#[test]
fn accounts() {
    let server = Server::start();
    let body = json!({"id": "shop/1", "unit": "GBP", "floor": -5, "metadata": {"z": 1, "a": "x"}});
    let opened = server.post("/v1/accounts", "k", &body.to_string());
    assert_eq!(opened.status, 201);
    let read = server.get("/v1/accounts/shop%2F1");
    assert_eq!(read.json(), opened.json());
    let account = read.json();
    for (member, expect) in [
        ("floor", json!(-5)),
        ("balance", json!(0)),
        ("held", json!(0)),
        ("available", json!(0)),
        ("version", json!(1)),
        ("metadata", json!({"a": "x", "z": 1})),
    ] {
        assert_eq!(account[member], expect, "{member}");
    }
    refuse(&server, "/v1/accounts", "k2", &body.to_string(), 409, "account-exists");
    assert_eq!(server.get("/v1/accounts/other").code(), "account-not-found");
}

#[test]
fn each_refusal_has_its_code() {
    let server = Server::start();
    server.open(&["a", "b"]);
    assert_eq!(server.post("/v1/accounts", "e", r#"{"id":"euro","unit":"EUR"}"#).status, 201);
    let cases = [
        ("same", transfer("a", "a", 1), 422, "same-account"),
        ("from", transfer("nobody", "a", 1), 404, "account-not-found"),
        ("to", transfer("a", "nobody", 1), 404, "account-not-found"),
        ("unit", transfer("world", "euro", 1), 422, "unit-mismatch"),
        ("poor", transfer("a", "b", 1), 422, "insufficient-funds"),
        // Where several apply, the order of the code table decides.
        ("same before unknown", transfer("nobody", "nobody", 1), 422, "same-account"),
        ("unknown before unit", transfer("nobody", "euro", 1), 404, "account-not-found"),
        ("unit before funds", transfer("a", "euro", 1), 422, "unit-mismatch"),
    ];
    for (at, (what, body, status, code)) in cases.iter().enumerate() {
        refuse(&server, "/v1/transfers", &format!("{at}"), body, *status, code);
        assert!(!what.is_empty());
    }
}

#[test]
fn a_hold_is_captured_voided_or_expires() {
    let server = Server::start();
    server.open(&["a", "b"]);
    server.transfer("fund", "world", "a", 100);
    let hold = |key: &str, ms: u64| make(&server, key, &json!({"from": "a", "to": "b", "amount": 40, "hold_ms": ms}));
    let first = hold("h1", 60_000);
    let account = server.get("/v1/accounts/a").json();
    assert_eq!((&account["balance"], &account["held"], &account["available"]), (&json!(100), &json!(40), &json!(60)));
    assert_eq!(server.get(&format!("/v1/transfers/{first}")).json()["state"], "held");
    refuse(&server, &format!("/v1/transfers/{first}/capture"), "c0", r#"{"amount":41}"#, 422, "exceeds-hold");
    let captured = server.post(&format!("/v1/transfers/{first}/capture"), "c1", r#"{"amount":30}"#);
    assert_eq!((captured.status, &captured.json()["state"]), (200, &json!("posted")), "{captured:?}");
    assert_eq!((server.balance("a"), server.balance("b")), (70, 30));
    refuse(&server, &format!("/v1/transfers/{first}/void"), "v0", "{}", 409, "hold-closed");
    let second = hold("h2", 60_000);
    let voided = server.post(&format!("/v1/transfers/{second}/void"), "v1", "");
    assert_eq!((voided.status, &voided.json()["state"]), (200, &json!("voided")), "{voided:?}");
    let third = hold("h3", 1);
    // It expires by itself; reading does not make it so, but waiting does.
    let expired = (0..1_000).any(|_| server.get(&format!("/v1/transfers/{third}")).json()["state"] == "expired");
    assert!(expired, "a hold of a millisecond was not expired");
    assert_eq!(server.get("/v1/accounts/a").json()["held"], 0);
    assert_eq!(server.get("/v1/transfers/01890a5d-ac96-774b-bcce-b302099a8057").code(), "transfer-not-found");
}

#[test]
fn a_reversal_moves_back_at_most_what_was_posted() {
    let server = Server::start();
    server.open(&["a"]);
    let id = make(&server, "t", &json!({"from": "world", "to": "a", "amount": 10}));
    let path = format!("/v1/transfers/{id}/reverse");
    let first = server.post(&path, "r1", r#"{"amount":4}"#);
    assert_eq!((first.status, &first.json()["reverses"]), (201, &json!(id)), "{first:?}");
    refuse(&server, &path, "r2", r#"{"amount":7}"#, 422, "exceeds-posted");
    assert_eq!(server.post(&path, "r3", "{}").json()["amount"], 6);
    assert_eq!(server.balance("a"), 0);
}

#[test]
fn a_batch_applies_each_item_once_whatever_it_comes_in() {
    let server = Server::start();
    server.open(&["a", "b"]);
    let item = |key: &str, from: &str, amount: u64| json!({"key": key, "from": from, "to": "b", "amount": amount});
    let batch = |atomic: bool, items: &[Value]| json!({"atomic": atomic, "items": items}).to_string();
    let each = batch(false, &[item("1", "world", 5), item("2", "a", 1), item("3", "world", 7)]);
    let answer = server.post("/v1/transfers/batch", "batch", &each);
    assert_eq!((answer.status, answer.outcome()), (200, "committed"), "{answer:?}");
    let items = answer.json()["items"].clone();
    assert_eq!(items[0]["outcome"], "committed");
    assert_eq!(items[0]["transfer"]["balance_after"]["to"], 5);
    assert_eq!((&items[1]["status"], &items[1]["problem"]["code"]), (&json!(422), &json!("insufficient-funds")));
    assert_eq!((&items[2]["key"], &items[2]["status"]), (&json!("3"), &json!(201)));
    // Sent again in part, with more, under another key: only what was not applied is.
    let again = batch(false, &[item("3", "world", 7), item("4", "world", 1)]);
    let answer = server.post("/v1/transfers/batch", "another", &again);
    assert_eq!(answer.json()["items"][0], items[2]);
    assert_eq!(server.balance("b"), 13);
    let alone = server.transfer("1", "world", "b", 5);
    assert_eq!(alone.header("idempotency-replayed"), Some("true"), "an item's key is a key like any other");
    let atomic = batch(true, &[item("5", "world", 1), item("6", "a", 1)]);
    let answer = server.post("/v1/transfers/batch", "atomic", &atomic);
    let problem = answer.json();
    assert_eq!((answer.status, answer.code().as_str()), (422, "batch-refused"));
    assert_eq!(
        (&problem["item"], &problem["item_key"], &problem["item_code"]),
        (&json!(1), &json!("6"), &json!("insufficient-funds"))
    );
    assert_eq!(server.balance("b"), 13);
    assert_eq!(
        server.get("/v1/operations/5").code(),
        "operation-unknown",
        "nothing is kept of a refused batch's items"
    );
    assert_eq!(server.transfer("5", "world", "b", 2).status, 201);
}
