//! What is wrong with definitions, inputs and expressions: each a clear answer, or a bounded end of the run.

use expect_test::{Expect, expect};

use crate::kit::{Answer, Server};
use crate::sagas::define;

/// Everything that a refused definition is told.
fn told(answer: &Answer) -> String {
    let json = answer.json();
    let errors = json["errors"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("{} {}", answer.status, answer.code())];
    lines.extend(
        errors
            .iter()
            .map(|error| format!("{}: {}", error["pointer"].as_str().unwrap(), error["detail"].as_str().unwrap())),
    );
    if let Some(line) = json["line"].as_u64() {
        lines.push(format!("at line {line}, column {}", json["column"]));
    }
    lines.join("\n")
}

#[track_caller]
fn check(server: &Server, yaml: &str, expected: Expect) {
    let before = server.position();
    let answer = define(server, "x", yaml);
    expected.assert_eq(&told(&answer));
    assert_eq!(server.position(), before, "nothing was appended");
}

#[test]
fn definitions_that_are_wrong() {
    let server = Server::start();
    check(
        &server,
        "steps: [{id: a, timer: {for_ms: 1}, after: [b]}, {id: b, timer: {for_ms: 1}, after: [a]}]",
        expect![[r#"
        400 invalid-request
        /steps/0: these steps wait for each other: a -> b -> a"#]],
    );
    check(
        &server,
        "steps: [{id: a, timer: {for_ms: 1}, after: [nobody]}]",
        expect![[r#"
        400 invalid-request
        /steps/0/after/0: there is no step `nobody`"#]],
    );
    check(
        &server,
        "deadline_ms: 99999999999\nsteps: [{id: a, timer: {for_ms: 99999999999}, timeout_ms: 0}]",
        expect![[r#"
        400 invalid-request
        /deadline_ms: must be 1 to 31622400000, is 99999999999
        /steps/0/timer/for_ms: for_ms must be 1 to 31622400000 milliseconds (366 days), is 99999999999
        /steps/0/timeout_ms: must be 1 to 31622400000, is 0"#]],
    );
    check(
        &server,
        "steps: [{id: a, event: {topic: t, type: t, data: \"${f(input)}\"}}]",
        expect![[r#"
        400 invalid-request
        /steps/0/event/data: there is no function `f`"#]],
    );
    check(
        &server,
        "steps: [{id: a, event: {topic: t, type: t, data: \"${steps.b}\"}}, {id: b, timer: {for_ms: 1}}]",
        expect![[r#"
        400 invalid-request
        /steps/0/event: `b` need not have ended then: name it in `after`"#]],
    );
    check(
        &server,
        "steps: [",
        expect![[r#"
        400 invalid-request
        : line 3, column 1: while parsing a node, did not find expected node content
        at line 3, column 1"#]],
    );
    check(
        &server,
        "steps: &a [*a]",
        expect![[r#"
        400 invalid-request
        : line 2, column 8: anchors and tags are not read
        at line 2, column 8"#]],
    );
    check(
        &server,
        "stepz: []",
        expect![[r#"
        400 invalid-request
        : there is no field `stepz`; there is `name`, `description`, `deadline_ms`, `input`, `steps`, `output`
        : `steps` is missing"#]],
    );
    check(
        &server,
        "steps: [{id: a, call: {url: \"http://169.254.169.254/\"}}]",
        expect![[r#"
            403 destination-not-allowed
            /steps/0/call/url: 169.254.169.254 of 169.254.169.254: only loopback addresses may be called"#]],
    );
    check(
        &server,
        "steps: [{id: a, call: {url: \"http://u:p@127.0.0.1/\"}}]",
        expect![[r#"
        400 invalid-request
        /steps/0/call/url: url must be a URL with http or https, a host, no user, and at most 2048 bytes, is "http://u:p@127.0.0.1/""#]],
    );
    let deep = format!("steps: {}", "[".repeat(100));
    check(
        &server,
        &deep,
        expect![[r#"
        400 invalid-request
        : a definition is nested at most 48 deep"#]],
    );
    let long = format!("description: {}\nsteps: []", "x".repeat(300_000));
    check(
        &server,
        &long,
        expect![[r#"
        400 invalid-request
        : a definition has at most 262144 bytes, this has 300031"#]],
    );
    let json = |body: &str, path: &str| {
        server.connect().request("PUT", path, &[("content-type", "application/json"), ("idempotency-key", "k")], body)
    };
    let right = r#"{"name":"x","steps":[{"id":"a","timer":{"for_ms":1}}]}"#;
    expect![[r#"
        400 invalid-request
        /name: is `x` here, and `y` in the path"#]]
    .assert_eq(&told(&json(right, "/v1/sagas/y")));
    expect![[r#"
        400 invalid-request
        : line 2, column 5: trailing comma
        at line 2, column 5"#]]
    .assert_eq(&told(&json("{\"name\":\n\"x\",}", "/v1/sagas/x")));
    assert_eq!(
        server
            .connect()
            .request("PUT", "/v1/sagas/x", &[("content-type", "text/plain"), ("idempotency-key", "k")], right)
            .status,
        415
    );
    assert_eq!(
        server.connect().request("PUT", "/v1/sagas/x", &[("content-type", "application/json")], right).code(),
        "idempotency-key-missing"
    );
    assert_eq!(json(right, "/v1/sagas/a%20b").status, 400);
    assert_eq!(json(right, "/v1/sagas/x").status, 201);
}

#[test]
fn inputs_that_are_wrong() {
    let server = Server::start();
    let yaml = "input: { n: { type: amount }, who: { type: id } }\nsteps: [{ id: a, timer: { for_ms: 1 } }]";
    assert_eq!(define(&server, "x", yaml).status, 201);
    let start = |key: &str, body: &str| server.post("/v1/sagas/x/runs", key, body);
    let before = server.position();
    expect![[r#"
        400 invalid-request
        /n: must be an amount: a whole number from 1, above 2^53 - 1 as a decimal string, is a number with a fraction
        /who: must be an id, is missing
        : there is no input `more`"#]]
    .assert_eq(&told(&start("k", r#"{"input":{"n":1.5,"more":1}}"#)));
    for (body, field) in [
        (r#"{"delay_ms":-1}"#, "delay_ms"),
        (r#"{"delay_ms":99999999999999}"#, "delay_ms"),
        (r#"{"deadline_ms":0}"#, "deadline_ms"),
        (r#"{"deadline":1}"#, "deadline"),
        ("[]", "body"),
    ] {
        let answer = start("k", body);
        assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some(field)), "{body}: {answer:?}");
    }
    assert_eq!(start("k", "{").code(), "malformed-json");
    let deep = format!(r#"{{"input":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(start("k", &deep).status, 400);
    assert_eq!(server.position(), before, "nothing was appended");
    assert_eq!(start("k", r#"{"input":{"n":1,"who":"a"}}"#).status, 200);
    assert_eq!(server.post("/v1/sagas/nobody/runs", "n", "{}").code(), "saga-not-found");
}

#[test]
fn expressions_that_fail_or_do_not_end() {
    let server = Server::start();
    let doubling = ["[@,@][]"; 15].join(" | ");

    for (name, step) in [
        ("type", "event: { topic: t, type: t, data: \"${sum('x')}\" }".to_owned()),
        ("missing", "transfer: { from: \"${input.nobody}\", to: b, amount: 1 }".to_owned()),
        ("zero", "timer: { for_ms: \"${divide(`1`, input.zero)}\" }".to_owned()),
        ("large", format!("event: {{ topic: t, type: t, data: \"${{input | {doubling}}}\" }}")),
        ("address", "call: { url: \"http://${input.host}/\" }".to_owned()),
        ("scheme", "call: { url: \"${input.url}\" }".to_owned()),
        ("header", "call: { url: \"http://127.0.0.1:1/\", headers: { x-a: \"${input.header}\" } }".to_owned()),
        (
            "body",
            "call: { url: \"http://127.0.0.1:1/\", headers: { content-type: text/plain }, body: \"${input}\" }"
                .to_owned(),
        ),
        ("key", "event: { topic: t, type: t, key: \"${input.header}\" }".to_owned()),
    ] {
        let answer = define(&server, name, &format!("steps: [{{ id: a, {step} }}]"));
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
    }
    let input = r#"{"input":{"zero":0,"host":"169.254.169.254","url":"file:///etc/passwd","header":"a\nb"}}"#;
    let mut lines = Vec::new();
    for name in ["type", "missing", "zero", "large", "address", "scheme", "header", "body", "key"] {
        let answer = server.post(&format!("/v1/sagas/{name}/runs"), name, input);
        let id = answer.json()["run"]["id"].as_str().unwrap().to_owned();
        let run = server.get(&format!("/v1/runs/{id}")).json();
        lines.push(format!("{name}: {} {}", answer.code(), run["steps"][0]["tried"][0]["evidence"]));
    }
    expect![[r#"
        type: run-compensated "`sum` takes a list of integers, not a text"
        missing: run-compensated "from must be an id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -, is null"
        zero: run-compensated "division by zero"
        large: run-compensated "the expressions of one step make at most 1048576 bytes"
        address: run-compensated "url: 169.254.169.254 of 169.254.169.254: only loopback addresses may be called"
        scheme: run-compensated "url must be a URL with http or https, a host, no user, and at most 2048 bytes, is \"file:///etc/passwd\""
        header: run-compensated "x-a must be visible ASCII of at most 4096 bytes, is \"a\\nb\""
        body: run-compensated "body: is a string where the content type is not JSON"
        key: run-compensated "key: a key is made of visible ASCII characters, the one at offset 1 is not""#]].assert_eq(&lines.join("\n"));
}
