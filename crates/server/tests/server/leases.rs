//! Leases as strangers use them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Answer, Server};

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str(), answer.outcome()), (status, code, "refused"), "{answer:?}");
}

/// The token of a grant.
#[track_caller]
fn token(answer: &Answer) -> u64 {
    assert_eq!((answer.status, answer.outcome()), (201, "committed"), "{answer:?}");
    answer.json()["token"].as_u64().unwrap()
}

fn acquire(server: &Server, name: &str, key: &str, owner: &str) -> Answer {
    let wish = json!({"owner": owner, "ttl_ms": 60_000, "wait_ms": 0});
    server.post(&format!("/v1/leases/{name}/acquire"), key, &wish.to_string())
}

fn release(server: &Server, name: &str, key: &str, token: u64) -> Answer {
    server.post(&format!("/v1/leases/{name}/release"), key, &json!({"token": token}).to_string())
}

/// Asks until the lease is as it ought to be.
#[track_caller]
fn until(server: &Server, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let lease = server.get(&format!("/v1/leases/{name}")).json();
        if is_so(&lease) {
            return lease;
        }
        assert!(Instant::now() < patience, "{lease}");
        thread::yield_now();
    }
}

#[test]
fn a_lease_is_held_over_a_restart_and_its_tokens_grow() {
    let mut server = Server::start();
    assert_eq!(
        server.get("/v1/leases/db").json(),
        json!({"name": "db", "capacity": null, "holders": [], "waiting": 0})
    );
    let wish = json!({"owner": "ann", "ttl_ms": 60_000, "metadata": {"host": "a"}}).to_string();
    let first = server.post("/v1/leases/db/acquire", "k1", &wish);
    let first_token = token(&first);
    for restarted in [false, true] {
        if restarted {
            server.restart();
        }
        let again = server.post("/v1/leases/db/acquire", "k1", &wish);
        assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, Some("true")));
        refused(&acquire(&server, "db", &format!("k2-{restarted}"), "bob"), 409, "lease-held");
        let lease = server.get("/v1/leases/db").json();
        assert_eq!((&lease["holders"][0]["owner"], &lease["capacity"]), (&json!("ann"), &json!(1)));
        assert_eq!(lease["holders"][0]["metadata"], json!({"host": "a"}));
        let body = json!({"token": first_token, "ttl_ms": 90_000}).to_string();
        let renewed = server.post("/v1/leases/db/renew", &format!("r-{restarted}"), &body);
        assert_eq!((renewed.status, renewed.json()["token"].as_u64()), (200, Some(first_token)), "{renewed:?}");
    }
    let page = server.get("/v1/leases").json();
    assert_eq!((&page["items"][0]["name"], &page["next"]), (&json!("db"), &json!(null)));
    assert_eq!(release(&server, "db", "k3", first_token).status, 200);
    assert_eq!(release(&server, "db", "k3", first_token).header("idempotency-replayed"), Some("true"));
    refused(&release(&server, "db", "k4", first_token), 409, "lease-lost");
    let body = json!({"token": first_token, "ttl_ms": 1}).to_string();
    refused(&server.post("/v1/leases/db/renew", "k5", &body), 409, "lease-lost");
    server.restart();
    assert!(token(&acquire(&server, "other", "k6", "bob")) > first_token);
}

#[test]
fn who_waits_is_granted_when_there_is_room() {
    let server = Server::start();
    let first = token(&acquire(&server, "db", "k1", "ann"));
    let next = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let wish = json!({"owner": "bob", "ttl_ms": 60_000}).to_string();
            server.connect().post("/v1/leases/db/acquire", "k2", &[("x-request-deadline", "20s")], &wish)
        });
        until(&server, "db", |lease| lease["waiting"] == 1);
        assert_eq!(release(&server, "db", "k3", first).status, 200);
        waits.join().unwrap()
    });
    assert!(token(&next) > first);
    assert_eq!(server.get("/v1/operations/k2").json()["body"], next.json());
    let events = server.get("/v1/topics/tertium.leases/events").json();
    let told: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(told, ["tertium.lease.granted", "tertium.lease.released", "tertium.lease.granted"]);
    assert_eq!((&events["items"][2]["subject"], &events["items"][2]["data"]), (&json!("db"), &next.json()));
}

#[test]
fn who_does_not_wait_on_is_told_or_can_ask() {
    let server = Server::start();
    let first = token(&acquire(&server, "db", "k1", "ann"));
    let wish = json!({"owner": "bob", "ttl_ms": 60_000, "wait_ms": 20}).to_string();
    refused(&server.post("/v1/leases/db/acquire", "k2", &wish), 409, "lease-held");
    assert_eq!(server.get("/v1/operations/k2").json()["outcome"], "refused");
    let wish = json!({"owner": "bob", "ttl_ms": 60_000}).to_string();
    let headers = [("prefer", "respond-async"), ("x-request-deadline", "20s")];
    let accepted = server.connect().post("/v1/leases/db/acquire", "k3", &headers, &wish);
    assert_eq!((accepted.status, accepted.outcome()), (202, "uncertain"), "{accepted:?}");
    assert_eq!(accepted.header("location"), Some("/v1/operations/k3"));
    assert_eq!(server.get("/v1/operations/k3").json()["status"], 202);
    assert_eq!(release(&server, "db", "k4", first).status, 200);
    let granted = server.get("/v1/operations/k3?wait_ms=10000").json();
    assert_eq!((&granted["status"], &granted["body"]["owner"]), (&json!(201), &json!("bob")));
    assert!(granted["body"]["token"].as_u64() > Some(first));
}

#[test]
fn a_lease_expires_by_itself() {
    let server = Server::start();
    let short = json!({"owner": "ann", "ttl_ms": 1}).to_string();
    assert_eq!(server.post("/v1/leases/db/acquire", "k1", &short).status, 201);
    until(&server, "db", |lease| lease["holders"] == json!([]));
    let wish = json!({"owner": "bob", "ttl_ms": 60_000, "capacity": 2}).to_string();
    assert_eq!(server.post("/v1/leases/db/acquire", "k2", &wish).status, 201);
    refused(&acquire(&server, "db", "k3", "eve"), 409, "lease-capacity-mismatch");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("tertium_leases 1"), "{metrics}");
}

#[test]
fn what_is_no_wish_is_refused() {
    let server = Server::start();
    for (verb, body) in [
        ("acquire", r#"{"owner":"ann"}"#),
        ("acquire", r#"{"owner":"ann","ttl_ms":0}"#),
        ("acquire", r#"{"owner":"ann","ttl_ms":1,"lifetime":2}"#),
        ("renew", r#"{"token":1}"#),
        ("release", r#"{"token":"1"}"#),
    ] {
        let answer = server.post(&format!("/v1/leases/db/{verb}"), "k", body);
        refused(&answer, 400, "invalid-request");
    }
    let answer = server.post("/v1/leases/a%20b/acquire", "k", r#"{"owner":"ann","ttl_ms":1}"#);
    refused(&answer, 400, "invalid-request");
    assert_eq!(server.get("/v1/leases").json()["items"], json!([]));
}

/// What a line of the documentation asks: `curl -s [']localhost:7700PATH['] [-H 'NAME: VALUE']... [--json 'BODY']`.
fn ask(server: &Server, line: &str) -> Answer {
    let path = line.split_once("localhost:7700").expect(line).1;
    let path = path.split([' ', '\'']).next().expect(line);
    let quoted = |from: &str| line.split_once(from).map(|(_, rest)| rest.split_once('\'').expect(line).0);
    let headers: Vec<(&str, &str)> = line
        .split("-H '")
        .skip(1)
        .map(|rest| rest.split_once('\'').expect(line).0.split_once(": ").expect(line))
        .chain(quoted("--json '").map(|_| ("content-type", "application/json")))
        .collect();
    let headers: Vec<(String, &str)> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let body = quoted("--json '").unwrap_or_default();
    server.connect().request(if body.is_empty() { "GET" } else { "POST" }, path, &headers, body)
}

/// Everything that is printed was answered; instants are other ones each time.
#[track_caller]
fn assert_printed(printed: &Value, answered: &Value) {
    let Value::Object(printed) = printed else {
        assert_eq!(printed, answered);
        return;
    };
    for (name, printed) in printed {
        let answered = answered.get(name).unwrap_or_else(|| panic!("{name} in {answered}"));
        if name.ends_with("_at") {
            assert_eq!(answered.as_str().map(str::len), printed.as_str().map(str::len), "{name}");
        } else {
            assert_printed(printed, answered);
        }
    }
}

#[test]
fn the_session_of_the_documentation_runs_as_printed() {
    const DOCUMENT: &str = include_str!("../../../../docs/leases.md");
    let session = DOCUMENT.split_once("```console\n").unwrap().1.split_once("```").unwrap().0;
    let server = Server::start();
    let lines: Vec<&str> = session.lines().collect();
    let (pairs, rest) = lines.as_chunks::<2>();
    assert!(pairs.len() > 5 && rest.is_empty());
    for [asked, printed] in pairs {
        let answer = ask(&server, asked.strip_prefix("$ curl -s ").expect(asked));
        assert_printed(&serde_json::from_str(printed).expect(printed), &answer.json());
    }
}
