//! NDJSON: lines in, answers in order, whatever comes between.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::kit::{Client, Server, request};

const HEADERS: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn line(key: &str, from: &str, to: &str, amount: u64) -> String {
    format!("{}\n", json!({"key": key, "from": from, "to": to, "amount": amount}))
}

fn lines(body: &[u8]) -> Vec<Value> {
    std::str::from_utf8(body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_are_answered_in_order_each_for_itself() {
    let server = Server::start();
    server.open(&["a", "b"]);
    let mut body = line("1", "world", "a", 5);
    body += "not json\n\n";
    body += &line("2", "b", "a", 5);
    body += r#"{"key":"3","from":"world","to":"a","amount":0}"#;
    body += "\n";
    body += &line("1", "world", "a", 5);
    body += &line("1", "world", "a", 6);
    body += line("4", "world", "b", 1).trim_end();
    let answer = server.connect().request("POST", "/v1/transfers", &HEADERS, &body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let expect = [
        (json!("1"), "committed", 201, ""),
        (Value::Null, "refused", 400, "malformed-json"),
        (json!("2"), "refused", 422, "insufficient-funds"),
        (json!("3"), "refused", 400, "amount-invalid"),
        (json!("1"), "committed", 201, ""),
        (json!("1"), "refused", 422, "idempotency-key-reused"),
        (json!("4"), "committed", 201, ""),
    ];
    let answers = lines(&answer.body);
    assert_eq!(answers.len(), expect.len(), "{answers:?}");
    for (answer, (key, outcome, status, code)) in answers.iter().zip(&expect) {
        assert_eq!(
            (&answer["key"], &answer["outcome"], &answer["status"]),
            (key, &json!(outcome), &json!(status)),
            "{answer}"
        );
        assert_eq!(answer["problem"]["code"].as_str().unwrap_or(""), *code, "{answer}");
    }
    assert_eq!(answers[0]["transfer"], answers[4]["transfer"]);
    assert_eq!((server.balance("a"), server.balance("b")), (5, 1));
}

/// Each line is answered before the next is sent: nothing waits for the end of the stream or for a full group.
#[test]
fn a_slow_sender_is_answered_line_by_line() {
    let server = Server::start();
    server.open(&["a"]);
    let mut client = server.connect();
    client.send("POST /v1/transfers HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n");
    send_chunk(&mut client, line("0", "world", "a", 1).as_bytes());
    assert!(client.receive_head().starts_with("HTTP/1.1 200"));
    for round in 1..20 {
        let answer = lines(&client.next_chunk().unwrap());
        assert_eq!(answer[0]["key"], json!((round - 1).to_string()));
        let text = line(&round.to_string(), "world", "a", 1);
        let (first, second) = text.as_bytes().split_at(10);
        send_chunk(&mut client, first);
        send_chunk(&mut client, second);
    }
    client.send("0\r\n\r\n");
    assert_eq!(lines(&client.next_chunk().unwrap()).len(), 1);
    assert_eq!(client.next_chunk(), None);
    assert_eq!(server.balance("a"), 20);
}

fn send_chunk(client: &mut Client, bytes: &[u8]) {
    client.send(format!("{:x}\r\n", bytes.len()));
    client.send(bytes);
    client.send("\r\n");
}

#[test]
fn a_long_stream_is_applied_once_and_a_second_time_not_at_all() {
    let server = Server::with(|config| config.streams.batch_items_max = 700);
    server.open(&["a"]);
    let body: String = (0..20_000).fold(String::new(), |mut body, at| {
        body += &line(&format!("k{at}"), "world", "a", 1);
        body
    });
    let first = server.connect().request("POST", "/v1/transfers", &HEADERS, &body);
    let answers = lines(&first.body);
    assert_eq!(answers.len(), 20_000);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["key"], &answer["status"]), (&json!(format!("k{at}")), &json!(201)));
    }
    let second = server.connect().request("POST", "/v1/transfers", &HEADERS, &body);
    assert!(first.body == second.body, "replayed byte for byte");
    assert_eq!(server.balance("a"), 20_000);
}

#[test]
fn a_line_that_is_too_long_costs_only_itself() {
    let server = Server::start();
    server.open(&["a"]);
    let mut body = line("1", "world", "a", 1);
    writeln!(body, "{}", "x".repeat(200_000)).unwrap();
    body += &line("2", "world", "a", 1);
    let answer = server.connect().request("POST", "/v1/transfers", &HEADERS, &body);
    let answers = lines(&answer.body);
    let codes: Vec<&str> = answers.iter().map(|answer| answer["problem"]["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "payload-too-large", ""], "{answers:?}");
}

#[test]
fn a_stream_that_breaks_off_happened_as_far_as_whole_lines_came() {
    let server = Server::start();
    server.open(&["a"]);
    let mut client = server.connect();
    let whole = request(
        "POST",
        "/v1/transfers",
        &HEADERS,
        (line("1", "world", "a", 1) + &line("2", "world", "a", 1)).as_bytes(),
    );
    client.send(&whole[..whole.len() - 1]);
    client.finish_sending();
    let _ = client.rest();
    assert_eq!(server.get("/v1/operations/1?wait_ms=5000").json()["outcome"], "committed");
    assert_eq!(server.get("/v1/operations/2").code(), "operation-unknown", "without its line feed it was not sent");
}
