//! Topics and subscriptions as strangers use them.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Answer, Client, Server, request};

const JSON: (&str, &str) = ("content-type", "application/json");

fn send(server: &Server, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [JSON, ("idempotency-key", key)];
    server.connect().request(method, path, &headers, &body.to_string())
}

/// A read that has no answer: it has no outcome either.
#[track_caller]
fn unread(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str(), answer.outcome()), (status, code, ""), "{answer:?}");
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str(), answer.outcome()), (status, code, "refused"), "{answer:?}");
}

fn offsets(page: &Answer) -> Vec<u64> {
    let page = page.json();
    let of = |item: &Value| item["tertiumoffset"].as_str().unwrap().parse().unwrap();
    page["items"].as_array().unwrap().iter().map(of).collect()
}

/// The next server-sent event of a stream: its fields by name.
fn next_event<S: Read + Write>(client: &mut Client<S>, rest: &mut String) -> Vec<(String, String)> {
    loop {
        if let Some((block, after)) = rest.split_once("\n\n").map(|(block, after)| (block.to_owned(), after.to_owned()))
        {
            *rest = after;
            let fields = block.lines().filter_map(|line| line.split_once(": "));
            let fields: Vec<(String, String)> =
                fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            if fields.iter().any(|(name, _)| name == "data") {
                return fields;
            }
            continue;
        }
        rest.push_str(&String::from_utf8(client.next_chunk().expect("the stream goes on")).unwrap());
    }
}

#[test]
fn events_are_published_once_and_read_in_order() {
    let mut server = Server::start();
    let several = json!({"events": [{"type": "made", "key": "a", "data": {"n": 1}}, {"type": "paid", "key": "a"}]});
    let first = server.post("/v1/topics/orders/events", "k1", &several.to_string());
    assert_eq!((first.status, first.outcome()), (201, "committed"), "{first:?}");
    let published = first.json();
    assert_eq!((&published["topic"], &published["count"]), (&json!("orders"), &json!(2)));
    let again = server.post("/v1/topics/orders/events", "k1", &several.to_string());
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, Some("true")));
    refused(&server.post("/v1/topics/orders/events", "k1", r#"{"type":"x"}"#), 422, "idempotency-key-reused");
    let cloud = json!({"specversion": "1.0", "id": "7", "source": "/shop", "type": "sent", "zone": "z", "data": [1]});
    let headers = [("content-type", "application/cloudevents+json"), ("idempotency-key", "k2")];
    let sent = server.connect().request("POST", "/v1/topics/orders/events", &headers, &cloud.to_string());
    assert_eq!(sent.status, 201, "{sent:?}");
    for restarted in [false, true] {
        if restarted {
            server.restart();
        }
        let page = server.get("/v1/topics/orders/events");
        assert!(page.header("tertium-position").is_some(), "{page:?}");
        let page = page.json();
        let items = page["items"].as_array().unwrap();
        let kinds: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!((kinds, &page["end"]), (vec!["made", "paid", "sent"], &json!(true)));
        assert_eq!(items[0]["data"], json!({"n": 1}));
        assert_eq!(items[0]["source"], "/cells/main/topics/orders");
        assert_eq!(items[0]["tertiumoffset"], published["first_offset"].to_string());
        let sent = &items[2];
        assert_eq!((&sent["id"], &sent["source"], &sent["zone"]), (&json!("7"), &json!("/shop"), &json!("z")));
        let first_page = server.get("/v1/topics/orders/events?limit=2").json();
        let rest = server.get(&format!("/v1/topics/orders/events?from={}", first_page["next_offset"]));
        assert_eq!(rest.json()["items"].as_array().unwrap().as_slice(), &items[2..]);
    }
    let topics = server.get("/v1/topics").json();
    assert_eq!((&topics["items"][0]["name"], &topics["items"][0]["events"]), (&json!("orders"), &json!(3)));
}

#[test]
fn the_ledger_is_a_topic() {
    let server = Server::start();
    server.open(&["a"]);
    assert_eq!(server.transfer("t", "world", "a", 5).status, 201);
    let page = server.get("/v1/topics/ledger/events").json();
    let last = page["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["type"], &last["partitionkey"]), (&json!("tertium.transfer.posted"), &json!("world")));
    assert_eq!((&last["data"]["amount"], &last["data"]["balance_after"]["to"]), (&json!(5), &json!(5)));
    refused(&server.post("/v1/topics/ledger/events", "k", r#"{"type":"x"}"#), 403, "topic-reserved");
    refused(&server.post("/v1/topics/tertium.escalations/events", "k2", r#"{"type":"x"}"#), 403, "topic-reserved");
    assert_eq!(server.get("/v1/topics/tertium.escalations/events").json()["items"], json!([]));
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let mut server = Server::start();
    assert_eq!(server.post("/v1/topics/orders/events", "k1", r#"{"type":"one"}"#).status, 201);
    let open = |last: Option<&str>| {
        let mut client = server.connect();
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.map(|last| ("last-event-id", last)));
        client.send(request("GET", "/v1/topics/orders/events", &headers, b""));
        let head = client.receive_head();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
        for header in
            ["tertium-position: main:1:", "tertium-staleness-ms: 0", "tertium-served-by: ", "tertium-session: "]
        {
            assert!(head.contains(header), "{header}: {head}");
        }
        client
    };
    let (mut client, mut rest) = (open(None), String::new());
    let one = next_event(&mut client, &mut rest);
    assert_eq!(one[1], ("event".to_owned(), "one".to_owned()));
    let told: Value = serde_json::from_str(&one[2].1).unwrap();
    assert_eq!((&told["type"], &told["tertiumoffset"]), (&json!("one"), &json!(one[0].1)));
    // What is published while the stream is open comes down it.
    assert_eq!(server.post("/v1/topics/orders/events", "k2", r#"{"type":"two"}"#).status, 201);
    assert_eq!(next_event(&mut client, &mut rest)[1].1, "two");
    drop(client);
    assert_eq!(server.post("/v1/topics/orders/events", "k3", r#"{"type":"three"}"#).status, 201);
    let (mut client, mut rest) = (open(Some(&one[0].1)), String::new());
    assert_eq!(next_event(&mut client, &mut rest)[1].1, "two");
    assert_eq!(next_event(&mut client, &mut rest)[1].1, "three");
    let headers = [("accept", "text/event-stream"), ("last-event-id", "x")];
    unread(&server.connect().request("GET", "/v1/topics/orders/events", &headers, ""), 400, "invalid-request");
    let unknown = server.connect().request("GET", "/v1/topics/nothing/events", &headers[..1], "");
    unread(&unknown, 404, "topic-not-found");
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "a stream that waits for events does not hold up the stop");
}

#[test]
fn a_consumer_fetches_and_acknowledges() {
    let mut server = Server::start();
    let path = "/v1/subscriptions/shop%2Fmail";
    let made = send(&server, "PUT", path, "s1", &json!({"topics": ["orders"], "types": ["made"]}));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!((&made.json()["name"], &made.json()["generation"]), (&json!("shop/mail"), &json!(1)));
    let events = json!({"events": [{"type": "made"}, {"type": "paid"}, {"type": "made"}]});
    assert_eq!(server.post("/v1/topics/orders/events", "k1", &events.to_string()).status, 201);
    let fetched = offsets(&server.get(&format!("{path}/events")));
    assert_eq!(fetched.len(), 2);
    let ack = send(&server, "POST", &format!("{path}/ack"), "a1", &json!({"offset": fetched[0]}));
    assert_eq!((ack.status, &ack.json()["next_offset"]), (200, &json!(fetched[0] + 1)), "{ack:?}");
    server.restart();
    assert_eq!(offsets(&server.get(&format!("{path}/events"))), fetched[1..]);
    let changed = send(&server, "PUT", path, "s2", &json!({"topics": ["orders"], "start": "beginning"}));
    assert_eq!((changed.status, &changed.json()["generation"]), (200, &json!(2)), "{changed:?}");
    assert_eq!(offsets(&server.get(&format!("{path}/events"))).len(), 3);
    let view = server.get(path).json();
    assert_eq!((&view["next_offset"], &view["resting"], &view["url"]), (&json!(0), &json!(null), &json!(null)));
    assert_eq!(server.get("/v1/subscriptions").json()["items"], json!([view]));
    assert_eq!(server.get("/v1/subscriptions?cursor=shop%2Fmail").json()["items"], json!([]));
    assert_eq!(server.get(&format!("{path}/dead-letters")).json(), json!({"items": [], "next": null}));
    let one = json!({"offset": 1});
    refused(&send(&server, "POST", &format!("{path}/dead-letters/replay"), "r1", &one), 404, "dead-letter-not-found");
    let all = send(&server, "POST", &format!("{path}/dead-letters/drop"), "r2", &json!({}));
    assert_eq!((all.status, &all.json()["dropped"]), (200, &json!(0)));
    let gone = server.connect().request("DELETE", path, &[("idempotency-key", "d1")], "");
    assert_eq!((gone.status, gone.outcome()), (200, "committed"), "{gone:?}");
    unread(&server.get(path), 404, "subscription-not-found");
    unread(&server.get(&format!("{path}/events")), 404, "subscription-not-found");
    refused(&send(&server, "POST", &format!("{path}/ack"), "a2", &one), 404, "subscription-not-found");
}

#[test]
fn a_reader_waits_for_what_is_not_there_yet() {
    let server = Server::start();
    let made = server.post("/v1/topics/orders/events", "k1", r#"{"type":"one"}"#).json();
    let from = made["last_offset"].as_u64().unwrap() + 1;
    let nothing = server.get(&format!("/v1/topics/orders/events?from={from}&wait_ms=20"));
    assert_eq!((nothing.status, &nothing.json()["items"]), (200, &json!([])), "a wait that is over is no error");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get(&format!("/v1/topics/orders/events?from={from}&wait_ms=9000")));
        // Whichever comes first, the reader sees it.
        assert_eq!(server.post("/v1/topics/orders/events", "k2", r#"{"type":"two"}"#).status, 201);
        assert_eq!(waiting.join().unwrap().json()["items"][0]["type"], "two");
    });
}

#[test]
fn a_topic_is_told_how_much_to_keep() {
    let server = Server::start();
    let kept = send(&server, "PUT", "/v1/topics/orders", "t1", &json!({"retention_ms": 60_000, "bytes_max": 1_000}));
    assert_eq!(kept.status, 200, "{kept:?}");
    let topic = server.get("/v1/topics").json()["items"][0].clone();
    assert_eq!((&topic["retention_ms"], &topic["bytes_max"]), (&json!(60_000), &json!(1_000)));
    refused(&send(&server, "PUT", "/v1/topics/ledger", "t2", &json!({"retention_ms": 60_000})), 403, "topic-reserved");
}

#[test]
fn what_must_not_pass() {
    let server = Server::start();
    let before = server.position();
    let large = json!({"type": "x", "data": "x".repeat(70_000)});
    let cases = [
        ("POST", "/v1/topics/orders/events", json!({}), 400, "invalid-request"),
        ("POST", "/v1/topics/orders/events", json!({"type": "x", "extra": 1}), 400, "invalid-request"),
        ("POST", "/v1/topics/orders/events", large, 400, "invalid-request"),
        ("POST", "/v1/topics/a%20b/events", json!({"type": "x"}), 400, "invalid-request"),
        ("PUT", "/v1/topics/orders", json!({"retention_ms": 1}), 400, "invalid-request"),
        ("PUT", "/v1/subscriptions/s", json!({"topics": []}), 400, "invalid-request"),
        ("PUT", "/v1/subscriptions/s", json!({"topics": ["a"], "url": "file:///etc/passwd"}), 400, "invalid-request"),
        ("PUT", "/v1/subscriptions/s", json!({"topics": ["a"], "secrets": ["whsec_+/="]}), 400, "invalid-request"),
        ("POST", "/v1/subscriptions/s", json!({}), 405, "method-not-allowed"),
        ("POST", "/v1/topics/orders", json!({}), 405, "method-not-allowed"),
    ];
    for (method, path, body, status, code) in cases {
        refused(&send(&server, method, path, "k", &body), status, code);
    }
    let mut client = server.connect();
    let text = [("content-type", "text/plain"), ("idempotency-key", "k")];
    refused(&client.request("POST", "/v1/topics/orders/events", &text, "x"), 415, "unsupported-media-type");
    refused(&client.request("PUT", "/v1/subscriptions/s", &text, "x"), 415, "unsupported-media-type");
    refused(
        &client.request("POST", "/v1/topics/orders/events", &[JSON], r#"{"type":"x"}"#),
        400,
        "idempotency-key-missing",
    );
    for path in ["/v1/topics/orders/events", "/v1/topics/orders/events?wait_ms=0"] {
        unread(&server.get(path), 404, "topic-not-found");
    }
    for path in ["/v1/topics/ledger/events?from=x", "/v1/topics/ledger/events?after=1", "/v1/topics?limit=0"] {
        unread(&server.get(path), 400, "invalid-request");
    }
    unread(&server.get("/v1/subscriptions?cursor=a%20b"), 400, "cursor-invalid");
    assert_eq!(server.position(), before, "nothing was appended");
}
