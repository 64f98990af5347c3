//! The table of situations of every write: what is answered, with which status, headers and code.

use std::thread;

use crate::kit::{Answer, Server, request, transfer};

fn check(answer: &Answer, status: u16, outcome: &str, code: &str) {
    assert_eq!((answer.status, answer.outcome(), answer.code().as_str()), (status, outcome, code), "{answer:?}");
    assert!(answer.header("traceparent").is_some(), "{answer:?}");
    if status >= 400 {
        let problem = answer.json();
        assert_eq!(problem["type"], format!("/errors/{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["outcome"], outcome);
    }
}

#[test]
fn a_write_is_answered_with_the_headers_of_the_contract() {
    let server = Server::start();
    server.open(&["a"]);
    let answer = server.transfer("k", "world", "a", 5);
    check(&answer, 201, "committed", "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let position = answer.header("tertium-position").unwrap();
    assert!(position.starts_with("main:1:"), "{position}");
    assert_eq!(answer.header("tertium-session"), Some(format!("1.{position}").as_str()));
    assert_eq!((answer.header("idempotency-replayed"), answer.header("idempotency-joined")), (None, None));
    let body = answer.json();
    assert_eq!((&body["amount"], &body["state"]), (&5.into(), &"posted".into()));
    assert_eq!(body["balance_after"], serde_json::json!({"from": -5, "to": 5}));
}

#[test]
fn a_key_is_required_and_must_be_one() {
    let server = Server::start();
    server.open(&["a"]);
    let before = server.position();
    let body = transfer("world", "a", 5);
    let mut client = server.connect();
    let json = ("content-type", "application/json");
    for path in ["/v1/transfers", "/v1/accounts", "/v1/transfers/batch", "/v1/transfers/x/void"] {
        check(&client.request("POST", path, &[json], &body), 400, "refused", "idempotency-key-missing");
    }
    let longest = "k".repeat(255);
    let too_long = "k".repeat(256);
    for key in [too_long.as_str(), "a b", "\"open", "\u{e9}"] {
        check(&client.post("/v1/transfers", key, &[], &body), 400, "refused", "idempotency-key-invalid");
    }
    assert_eq!(server.position(), before);
    check(&client.post("/v1/transfers", &longest, &[], &body), 201, "committed", "");
    check(&client.post("/v1/transfers", &format!("\"{longest}\""), &[], &body), 201, "committed", "");
    assert_eq!(server.balance("a"), 5, "quotes are not part of the key");
}

#[test]
fn the_same_request_is_answered_byte_for_byte_also_after_a_restart() {
    let mut server = Server::start();
    server.open(&["a", "b"]);
    let refused_body = transfer("b", "a", 1);
    let batch = r#"{"atomic":false,"items":[{"key":"i1","from":"world","to":"a","amount":1},{"key":"i2","from":"b","to":"a","amount":1}]}"#;
    let atomic = r#"{"atomic":true,"items":[{"key":"i3","from":"world","to":"a","amount":1},{"key":"i4","from":"b","to":"a","amount":1}]}"#;
    let requests = [
        ("/v1/transfers", "ok", transfer("world", "a", 7), 201, "committed"),
        ("/v1/transfers", "no", refused_body, 422, "refused"),
        ("/v1/transfers/batch", "each", batch.to_owned(), 200, "committed"),
        ("/v1/transfers/batch", "atomic", atomic.to_owned(), 422, "refused"),
        (
            "/v1/accounts",
            "account",
            r#"{"id":"c","unit":"EUR","metadata":{"b":1,"a":[2]}}"#.to_owned(),
            201,
            "committed",
        ),
    ];
    let ask = |server: &Server, replayed: bool| -> Vec<Vec<u8>> {
        let answers = requests.iter().map(|(path, key, body, status, outcome)| {
            let answer = server.post(path, key, body);
            assert_eq!((answer.status, answer.outcome()), (*status, *outcome), "{answer:?}");
            assert_eq!(answer.header("idempotency-replayed"), replayed.then_some("true"), "{answer:?}");
            answer.body
        });
        answers.collect()
    };
    let first = ask(&server, false);
    let position = server.position();
    // The refusal is remembered although it would succeed by now.
    assert_eq!(server.transfer("fund", "world", "b", 100).status, 201);
    assert_eq!(ask(&server, true), first);
    server.restart();
    assert_eq!(ask(&server, true), first);
    let replay = server.post("/v1/transfers", "ok", "  { \"amount\": 7,\n\"to\":\"a\", \"from\":\"world\" }");
    assert_eq!((replay.status, &replay.body), (201, &first[0]), "white space and order of members do not matter");
    assert_ne!(replay.header("tertium-position"), Some(position.as_str()));
    assert_eq!(server.balance("a"), 8);
}

#[test]
fn a_key_is_of_one_request_only() {
    let server = Server::start();
    server.open(&["a"]);
    let first = server.transfer("k", "world", "a", 5);
    let reused =
        |path: &str, body: &str| check(&server.post(path, "k", body), 422, "refused", "idempotency-key-reused");
    reused("/v1/transfers", &transfer("world", "a", 6));
    reused("/v1/accounts", r#"{"id":"b","unit":"GBP"}"#);
    reused("/v1/transfers/batch", r#"{"atomic":false,"items":[{"key":"x","from":"world","to":"a","amount":1}]}"#);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    reused(&format!("/v1/transfers/{id}/reverse"), "{}");
    let again = server.transfer("k", "world", "a", 5);
    assert_eq!((again.status, &again.body), (201, &first.body), "the first stays as it was");
    assert_eq!(server.balance("a"), 5);
}

/// Two requests with one key at once, until one of them is seen to join the other: the same body gives one effect and one
/// answer, another body is refused.
#[test]
fn requests_in_flight_under_one_key_have_one_effect() {
    let server = Server::start();
    server.open(&["a"]);
    let (mut joined, mut reused_in_flight) = (false, false);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for round in 0.. {
        assert!(round < 2_000, "never joined: {joined}, never reused in flight: {reused_in_flight}");
        let key = format!("k{round}");
        let bodies = [transfer("world", "a", 1), transfer("world", "a", 1), transfer("world", "a", 2)];
        for (client, body) in clients.iter_mut().zip(&bodies) {
            let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
            client.send(request("POST", "/v1/transfers", &headers, body.as_bytes()));
        }
        let answers: Vec<Answer> = clients.iter_mut().take(bodies.len()).map(|client| client.receive()).collect();
        let amount = server.get(&format!("/v1/operations/{key}")).json()["body"]["amount"].as_u64().unwrap();
        for (answer, body) in answers.iter().zip(&bodies) {
            if *body == transfer("world", "a", amount) {
                assert_eq!(answer.status, 201, "{answer:?}");
                joined |= answer.header("idempotency-joined") == Some("true");
            } else {
                check(answer, 422, "refused", "idempotency-key-reused");
                reused_in_flight = true;
            }
        }
        let winners: Vec<&Vec<u8>> =
            answers.iter().filter(|answer| answer.status == 201).map(|answer| &answer.body).collect();
        assert!(winners.windows(2).all(|pair| pair[0] == pair[1]), "one answer for all");
        if joined && reused_in_flight {
            break;
        }
    }
}

#[test]
fn what_is_late_did_not_happen_and_may_be_tried_again() {
    let server = Server::start();
    server.open(&["a"]);
    let before = server.position();
    let mut client = server.connect();
    let body = transfer("world", "a", 5);
    for late in ["0ms", "0s", "2020-01-01T00:00:00Z"] {
        let answer = client.post("/v1/transfers", "k", &[("x-request-deadline", late)], &body);
        check(&answer, 504, "refused", "deadline-exceeded");
        assert_eq!(answer.json()["operation"], "/v1/operations/k");
    }
    for bad in ["soon", "5", "-1ms", "1.5s", "2h", "3601s"] {
        let answer = client.post("/v1/transfers", "k", &[("x-request-deadline", bad)], &body);
        check(&answer, 400, "refused", "deadline-invalid");
    }
    assert_eq!(server.position(), before);
    check(&client.post("/v1/transfers", "k", &[("x-request-deadline", "5s")], &body), 201, "committed", "");
}

#[test]
fn a_key_that_carries_an_old_time_is_never_run() {
    let server = Server::start();
    server.open(&["a"]);
    let body = transfer("world", "a", 5);
    check(&server.post("/v1/transfers", "01890a5d-ac96-774b-bcce-b302099a8057", &body), 409, "refused", "key-expired");
    assert_eq!(server.balance("a"), 0);
}

#[test]
fn overload_is_refused_before_anything_is_appended() {
    let server = Server::with(|config| config.cell.queue_commands_max = 1);
    server.open(&["a"]);
    let server = &server;
    let refused = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|thread| {
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut refused = Vec::new();
                    for at in 0..100 {
                        let answer =
                            client.post("/v1/transfers", &format!("{thread}-{at}"), &[], &transfer("world", "a", 1));
                        if answer.status != 201 {
                            check(&answer, 503, "refused", "overloaded");
                            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                            refused.push(format!("{thread}-{at}"));
                        }
                    }
                    refused
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(!refused.is_empty(), "sixteen clients fit a queue of one");
    assert_eq!(server.balance("a"), 1_600 - refused.len() as i64);
    assert_eq!(server.get(&format!("/v1/operations/{}", refused[0])).code(), "operation-unknown");
    assert_eq!(server.transfer(&refused[0], "world", "a", 1).status, 201, "the same key may be tried again");
}

#[test]
fn settle_makes_it_definite() {
    let mut server = Server::start();
    server.open(&["a"]);
    let first = server.transfer("done", "world", "a", 5);
    let settle =
        |server: &Server, key: &str| server.connect().request("POST", &format!("/v1/operations/{key}/settle"), &[], "");
    let settled = settle(&server, "done");
    check(&settled, 200, "committed", "");
    let operation = settled.json();
    assert_eq!((&operation["status"], &operation["outcome"]), (&201.into(), &"committed".into()));
    assert_eq!(operation["body"], first.json());
    assert_eq!(settled.header("tertium-position"), first.header("tertium-position"));
    let barred = settle(&server, "never");
    check(&barred, 200, "refused", "");
    assert_eq!(barred.json()["body"]["code"], "operation-barred");
    check(&server.transfer("never", "world", "a", 5), 409, "refused", "operation-barred");
    server.restart();
    check(&server.transfer("never", "world", "a", 5), 409, "refused", "operation-barred");
    assert_eq!(settle(&server, "never").json()["outcome"], "refused");
    assert_eq!(server.balance("a"), 5);
}

#[test]
fn an_operation_can_be_asked_for() {
    let server = Server::start();
    server.open(&["a"]);
    let unknown = server.get("/v1/operations/k%2F1");
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "operation-unknown"));
    let first = server.transfer("k/1", "world", "a", 5);
    assert_eq!(server.transfer("k/1", "world", "a", 5).status, 201);
    let operation = server.get("/v1/operations/k%2F1?wait_ms=1000").json();
    assert_eq!(operation["key"], "k/1");
    assert_eq!(operation["body"], first.json());
    assert_eq!(operation["position"].as_str(), first.header("tertium-position"));
    assert_eq!(operation["replays"], 1);
    assert!(operation["expires_at"].as_str() > operation["decided_at"].as_str());
}

#[test]
fn what_is_decided_at_once_is_answered_at_once_whatever_is_preferred() {
    let server = Server::start();
    server.open(&["a"]);
    let prefer = [("prefer", "wait=5, respond-async")];
    let ask = |key: &str, body: &str| server.connect().post("/v1/transfers", key, &prefer, body);
    let made = ask("later", &transfer("world", "a", 5));
    assert_eq!((made.status, made.outcome()), (201, "committed"), "{made:?}");
    check(&ask("later", &transfer("world", "a", 6)), 422, "refused", "idempotency-key-reused");
    check(&ask("poor", &transfer("a", "world", 9)), 422, "refused", "insufficient-funds");
}

/// What looks and changes nothing was neither committed nor refused.
#[test]
fn reads_have_no_outcome() {
    let server = Server::start();
    server.open(&["a"]);
    for (path, status) in [
        ("/v1/accounts/a", 200),
        ("/v1/accounts/none", 404),
        ("/v1/operations/open-a", 200),
        ("/v1/operations/none", 404),
        ("/v1/accounts?limit=x", 400),
        ("/healthz", 200),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("tertium-outcome")), (status, None), "{path}: {answer:?}");
    }
    assert_eq!(server.post("/v1/nowhere", "k", "{}").outcome(), "refused", "what leads nowhere did nothing");
}

/// Also of items that were refused and are remembered with the batch only.
#[test]
fn an_operation_names_the_items_of_its_batch() {
    let server = Server::start();
    server.open(&["a"]);
    assert_eq!(server.transfer("one", "world", "a", 5).status, 201);
    let item = |key: &str, amount: u64| format!(r#"{{"key":"{key}","from":"world","to":"a","amount":{amount}}}"#);
    let body = format!(r#"{{"atomic":false,"items":[{},{},{}]}}"#, item("two", 1), item("one", 6), item("three", 1));
    let made = server.post("/v1/transfers/batch", "batch", &body);
    let keys = |items: &serde_json::Value| {
        let items = items["items"].as_array().unwrap();
        items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&made.json()), ["two", "one", "three"]);
    let operation = server.get("/v1/operations/batch").json();
    assert_eq!(operation["body"], made.json());
}

#[test]
fn a_trace_is_continued() {
    let server = Server::start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = server.connect().request("GET", "/healthz", &[("traceparent", parent)], "");
    let echoed = answer.header("traceparent").unwrap();
    assert_eq!((&echoed[..35], &echoed[52..]), (&parent[..35], "-01"));
    assert_ne!(echoed, parent);
}

#[test]
fn a_session_comes_back_grown() {
    let server = Server::start();
    server.open(&["a"]);
    let mut client = server.connect();
    let answer = client.post("/v1/transfers", "k", &[("tertium-session", "1.other:3:4")], &transfer("world", "a", 5));
    let position = answer.header("tertium-position").unwrap();
    assert_eq!(answer.header("tertium-session"), Some(format!("1.main:{},other:3:4", &position[5..]).as_str()));
    for bad in ["x", "9.main:1:1", "1.main:1"] {
        let answer = client.post("/v1/transfers", "k2", &[("tertium-session", bad)], &transfer("world", "a", 5));
        check(&answer, 400, "refused", "session-invalid");
    }
}
