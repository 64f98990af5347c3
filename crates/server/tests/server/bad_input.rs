//! What must not pass, each with its code, and none of it with a trace in the state.

use crate::kit::{Client, Server, request, transfer};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends each body under a key of its own and expects its refusal; then nothing has changed and the keys are free.
fn check(path: &str, cases: &[(&str, &[u8], u16, &str)]) {
    let server = Server::start();
    server.open(&["a"]);
    let before = server.position();
    let mut client = server.connect();
    for (at, (what, body, status, code)) in cases.iter().enumerate() {
        let key = format!("k{at}");
        client.send(request("POST", path, &[JSON, ("idempotency-key", &key)], body));
        let answer = client.receive();
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{what}: {answer:?}");
        assert_eq!(answer.outcome(), "refused", "{what}");
        assert_eq!(server.get(&format!("/v1/operations/{key}")).code(), "operation-unknown", "{what}");
    }
    assert_eq!(server.position(), before, "nothing was appended");
}

#[test]
fn bodies_that_are_no_transfer() {
    let deep = "[".repeat(100_000);
    let deep_metadata =
        format!(r#"{{"from":"world","to":"a","amount":1,"metadata":{}1{}}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    let long_id = format!(r#"{{"from":"{}","to":"a","amount":1}}"#, "x".repeat(129));
    let long_memo = format!(r#"{{"from":"world","to":"a","amount":1,"memo":"{}"}}"#, "m".repeat(2_000));
    check(
        "/v1/transfers",
        &[
            ("nothing", b" ", 400, "malformed-json"),
            ("no JSON", b"from=world", 400, "malformed-json"),
            ("truncated", br#"{"from":"world","to":"a","amo"#, 400, "malformed-json"),
            ("more behind it", br#"{"from":"world","to":"a","amount":1} x"#, 400, "malformed-json"),
            ("deeply nested", deep.as_bytes(), 400, "invalid-request"),
            ("deeply nested metadata", deep_metadata.as_bytes(), 400, "invalid-request"),
            ("not UTF-8", b"{\"from\":\"\xff\",\"to\":\"a\",\"amount\":1}", 400, "malformed-json"),
            ("an array", b"[]", 400, "invalid-request"),
            ("a string", br#""world""#, 400, "invalid-request"),
            ("null", b"null", 400, "invalid-request"),
            ("unknown field", br#"{"from":"world","to":"a","amount":1,"note":""}"#, 400, "invalid-request"),
            ("missing field", br#"{"from":"world","amount":1}"#, 400, "invalid-request"),
            ("duplicate member", br#"{"from":"world","from":"a","to":"a","amount":1}"#, 400, "invalid-request"),
            ("number for an id", br#"{"from":1,"to":"a","amount":1}"#, 400, "invalid-request"),
            ("null for an id", br#"{"from":null,"to":"a","amount":1}"#, 400, "invalid-request"),
            ("empty id", br#"{"from":"","to":"a","amount":1}"#, 400, "invalid-request"),
            ("id with a space", br#"{"from":"a b","to":"a","amount":1}"#, 400, "invalid-request"),
            (
                "id that is not ASCII",
                "{\"from\":\"\u{e9}\",\"to\":\"a\",\"amount\":1}".as_bytes(),
                400,
                "invalid-request",
            ),
            ("id with a control character", br#"{"from":"a\u0000","to":"a","amount":1}"#, 400, "invalid-request"),
            ("id of 129 characters", long_id.as_bytes(), 400, "invalid-request"),
            ("long memo", long_memo.as_bytes(), 400, "invalid-request"),
        ],
    );
}

#[test]
fn numbers_at_and_past_every_bound() {
    let body = |amount: &str| format!(r#"{{"from":"world","to":"a","amount":{amount}}}"#);
    let wrong = [
        ("0", "amount-invalid"),
        ("-1", "amount-invalid"),
        ("-0", "amount-invalid"),
        ("1.0", "amount-invalid"),
        ("1.5", "amount-invalid"),
        ("1e3", "amount-invalid"),
        ("1E400", "amount-invalid"),
        ("9007199254740992", "amount-invalid"),
        ("18446744073709551616", "amount-invalid"),
        (r#""1""#, "amount-invalid"),
        (r#""9007199254740991""#, "amount-invalid"),
        (r#""09007199254740992""#, "amount-invalid"),
        (r#""+9007199254740992""#, "amount-invalid"),
        (r#""-9007199254740992""#, "amount-invalid"),
        (r#"" 9007199254740992""#, "amount-invalid"),
        (r#""9007199254740992.0""#, "amount-invalid"),
        (r#""1e16""#, "amount-invalid"),
        (r#""""#, "amount-invalid"),
        (r#""170141183460469231731687303715884105728""#, "amount-invalid"),
        (r#""999999999999999999999999999999999999999999999""#, "amount-invalid"),
        ("null", "invalid-request"),
        ("true", "invalid-request"),
        ("[1]", "invalid-request"),
        ("{}", "invalid-request"),
        ("01", "malformed-json"),
        ("+1", "malformed-json"),
        ("0x1", "malformed-json"),
        ("NaN", "malformed-json"),
    ];
    let bodies: Vec<String> = wrong.iter().map(|(amount, _)| body(amount)).collect();
    let cases: Vec<(&str, &[u8], u16, &str)> =
        wrong.iter().zip(&bodies).map(|((amount, code), body)| (*amount, body.as_bytes(), 400, *code)).collect();
    check("/v1/transfers", &cases);
    let server = Server::start();
    server.open(&["a", "b"]);
    let largest = "170141183460469231731687303715884105727";
    for (key, amount) in [("small", "1"), ("number", "9007199254740991"), ("text", r#""9007199254740992""#)] {
        assert_eq!(server.post("/v1/transfers", key, &body(amount)).status, 201, "{amount}");
    }
    let to_b = format!(r#"{{"from":"world","to":"b","amount":"{largest}"}}"#);
    assert_eq!(server.post("/v1/transfers", "largest", &to_b).code(), "overflow", "world is below zero already");
    for hold in ["0", "-1", "1.5", "31622400001", "\"1\""] {
        let body = format!(r#"{{"from":"world","to":"a","amount":1,"hold_ms":{hold}}}"#);
        let answer = server.post("/v1/transfers", "hold", &body);
        assert_eq!(answer.status, 400, "{hold}: {answer:?}");
    }
}

#[test]
fn bodies_that_are_no_account_or_batch() {
    check(
        "/v1/accounts",
        &[
            ("no unit", br#"{"id":"x"}"#, 400, "invalid-request"),
            ("illegal unit", br#"{"id":"x","unit":"a b"}"#, 400, "invalid-request"),
            ("fraction as a floor", br#"{"id":"x","unit":"GBP","floor":0.5}"#, 400, "amount-invalid"),
            ("metadata that is no object", br#"{"id":"x","unit":"GBP","metadata":[1]}"#, 400, "invalid-request"),
            ("duplicate in metadata", br#"{"id":"x","unit":"GBP","metadata":{"a":1,"a":2}}"#, 400, "invalid-request"),
        ],
    );
    let item = r#"{"key":"i","from":"world","to":"a","amount":1}"#;
    let many = format!(r#"{{"atomic":true,"items":[{}]}}"#, vec![item; 8_193].join(","));
    check(
        "/v1/transfers/batch",
        &[
            ("no items", br#"{"atomic":true,"items":[]}"#, 400, "invalid-request"),
            ("no mode", br#"{"items":[{"key":"i","from":"world","to":"a","amount":1}]}"#, 400, "invalid-request"),
            (
                "an item without a key",
                br#"{"atomic":true,"items":[{"from":"world","to":"a","amount":1}]}"#,
                400,
                "invalid-request",
            ),
            (
                "an item with a bad key",
                br#"{"atomic":true,"items":[{"key":"a b","from":"world","to":"a","amount":1}]}"#,
                400,
                "idempotency-key-invalid",
            ),
            (
                "an item without an amount",
                br#"{"atomic":true,"items":[{"key":"i","from":"world","to":"a","amount":0}]}"#,
                400,
                "amount-invalid",
            ),
            ("8,193 items", many.as_bytes(), 400, "invalid-request"),
        ],
    );
}

#[test]
fn malformed_json_is_located() {
    let server = Server::start();
    let answer = server.post("/v1/transfers", "k", "{\n  \"from\": oops}");
    let problem = answer.json();
    assert_eq!(
        (answer.code().as_str(), &problem["line"], &problem["column"]),
        ("malformed-json", &2.into(), &11.into())
    );
    let answer = server.post("/v1/transfers", "k", r#"{"from":"a","to":"b","amount":1,"nope":1}"#);
    assert!(answer.json()["detail"].as_str().unwrap().contains("nope"), "{answer:?}");
}

#[test]
fn what_is_too_large_is_refused_and_its_sender_reads_why() {
    let server = Server::with(|config| config.limits.body_bytes_max = 100_000);
    server.open(&["a"]);
    let before = server.position();
    let large = format!(r#"{{"from":"world","to":"a","amount":1,"memo":"{}"}}"#, "m".repeat(150_000));
    let answer = server.post("/v1/transfers", "k", &large);
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
    let mut client = server.connect();
    client.send("POST /v1/transfers HTTP/1.1\r\nhost: t\r\nidempotency-key: k\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    for part in large.as_bytes().chunks(30_000) {
        client.send(format!("{:x}\r\n", part.len()));
        client.send(part);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let answer = client.receive();
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
    let filler = "x".repeat(20_000);
    let answer = server.connect().request("GET", "/healthz", &[("x-filler", &filler)], "");
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers-too-large"));
    let mut client = server.connect();
    let many: String = (0..150).map(|at| format!("x-{at}: y\r\n")).collect();
    client.send(format!("GET /healthz HTTP/1.1\r\nhost: t\r\n{many}\r\n"));
    assert_eq!(client.receive().status, 431);
    assert_eq!(server.position(), before);
}

#[test]
fn wrong_paths_methods_and_types() {
    let server = Server::start();
    let before = server.position();
    let mut client = server.connect();
    let mut check = |method: &str, path: &str, headers: &[(&str, &str)], body: &str, status: u16, code: &str| {
        let answer = client.request(method, path, headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}: {answer:?}");
        answer.header("allow").map(ToOwned::to_owned)
    };
    let key = ("idempotency-key", "k");
    check("GET", "/v1/nothing", &[], "", 404, "not-found");
    check("GET", "/errors/no-such-code", &[], "", 404, "not-found");
    let allow = check("DELETE", "/v1/accounts", &[], "", 405, "method-not-allowed");
    assert_eq!(allow.as_deref(), Some("GET, HEAD, POST"));
    let allow = check("GET", "/v1/transfers/batch", &[], "", 405, "method-not-allowed");
    assert_eq!(allow.as_deref(), Some("POST"));
    check("POST", "/v1/transfers", &[key, ("content-type", "text/plain")], "{}", 415, "unsupported-media-type");
    check("POST", "/v1/transfers", &[key], "{}", 415, "unsupported-media-type");
    check(
        "POST",
        "/v1/accounts",
        &[key, ("content-type", "application/x-ndjson")],
        "{}",
        415,
        "unsupported-media-type",
    );
    check("POST", "/v1/transfers?x=1", &[key, JSON], "{}", 400, "invalid-request");
    check("POST", "/v1/transfers/not-an-id/void", &[key, JSON], "{}", 404, "transfer-not-found");
    check("GET", "/v1/accounts/%zz", &[], "", 400, "invalid-request");
    check("GET", "/v1/accounts/a%20b", &[], "", 400, "invalid-request");
    check("GET", "/v1/accounts?limit=0", &[], "", 400, "invalid-request");
    check("GET", "/v1/accounts?limit=1001", &[], "", 400, "invalid-request");
    check("GET", "/v1/accounts?cursor=zz", &[], "", 400, "cursor-invalid");
    check("GET", "/v1/accounts?colour=red", &[], "", 400, "invalid-request");
    check("GET", "/v1/accounts/a", &[("tertium-consistency", "strong")], "", 400, "consistency-invalid");
    assert_eq!(server.position(), before);
}

#[test]
fn a_client_that_stops_halfway_leaves_nothing() {
    let server = Server::start();
    server.open(&["a"]);
    let before = server.position();
    let whole =
        request("POST", "/v1/transfers", &[JSON, ("idempotency-key", "half")], transfer("world", "a", 5).as_bytes());
    for sent in [1, 20, whole.len() - 20, whole.len() - 1] {
        let mut client = server.connect();
        client.send(&whole[..sent]);
        client.finish_sending();
        let _ = client.rest();
    }
    let mut client = server.connect();
    client.send("POST /v1/transfers HTTP/1.1\r\nhost: t\r\nidempotency-key: half\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n24\r\n");
    client.send(transfer("world", "a", 5));
    client.finish_sending();
    let _ = client.rest();
    assert_eq!(server.position(), before);
    assert_eq!(server.get("/v1/operations/half").code(), "operation-unknown");
}

#[test]
fn what_is_no_http_is_no_request() {
    let server = Server::start();
    for noise in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\0\0\0\0",
        "POST /v1/transfers HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    ] {
        let mut client = server.connect();
        client.send(noise);
        client.finish_sending();
        let answer = client.try_receive();
        assert!(answer.is_none_or(|answer| answer.status == 400), "{noise:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

/// A request that was handed over whole happens, whether or not anybody waits for its answer.
#[test]
fn a_client_that_leaves_is_not_obeyed_in_that() {
    let server = Server::start();
    server.open(&["a"]);
    let mut client = server.connect();
    client.send(request(
        "POST",
        "/v1/transfers",
        &[JSON, ("idempotency-key", "gone")],
        transfer("world", "a", 5).as_bytes(),
    ));
    drop::<Client>(client);
    let settled = server.connect().request("POST", "/v1/operations/gone/settle", &[], "");
    let outcome = settled.json()["outcome"].as_str().unwrap().to_owned();
    let balance = server.balance("a");
    assert!(matches!((outcome.as_str(), balance), ("committed", 5) | ("refused", 0)), "{outcome} and {balance}");
}
