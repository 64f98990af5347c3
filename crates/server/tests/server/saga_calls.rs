//! What the calls of sagas say to their receivers.

use crate::calls::{Receiver, Seen, uncertain};
use crate::kit::Server;
use crate::sagas::define;

fn defined(server: &Server, name: &str, steps: &str) {
    let answer = define(server, name, &format!("steps:\n{steps}"));
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn start(server: &Server, name: &str, key: &str, body: &str) -> crate::kit::Answer {
    server.post(&format!("/v1/sagas/{name}/runs"), key, body)
}

/// What a compensation said of the call that it undoes.
fn undone(seen: &Seen) -> (&str, &str, &str) {
    let key = seen.header("idempotency-key").trim_matches('"');
    (key, seen.header("tertium-compensates"), seen.header("tertium-compensates-outcome"))
}

#[test]
fn a_compensation_names_the_call_that_it_undoes() {
    let (server, receiver) = (Server::start(), Receiver::start());
    server.open(&["ada"]);
    assert_eq!(server.transfer("fund", "world", "ada", 10).status, 201);
    let undo = |path: &str| format!("compensate: {{ call: {{ url: \"{}\" }} }}", receiver.url(path));
    defined(
        &server,
        "named",
        &format!(
            "  - {{ id: pay, transfer: {{ from: ada, to: world, amount: 1 }}, {} }}\n  \
               - {{ id: a, call: {{ url: \"{}\" }}, {} }}\n  \
               - {{ id: b, call: {{ url: \"{}\" }} }}\n",
            undo("/undo/pay"),
            receiver.url("/ok"),
            undo("/undo/a"),
            receiver.url("/refuse")
        ),
    );
    let answer = start(&server, "named", "k", "");
    assert_eq!(answer.code(), "run-compensated", "{answer:?}");
    let id = answer.json()["run"]["id"].as_str().unwrap().to_owned();
    let seen = receiver.seen();
    let lines: Vec<_> = seen.iter().map(|seen| &*seen.line).collect();
    assert_eq!(lines, ["POST /ok", "POST /refuse", "POST /undo/a", "POST /undo/pay"]);
    assert_eq!(undone(&seen[0]), (&*format!("{id}/a"), "", ""));
    assert_eq!(undone(&seen[2]), (&*format!("{id}/a/compensate"), &*format!("\"{id}/a\""), "committed"));
    assert_eq!(undone(&seen[3]), (&*format!("{id}/pay/compensate"), "", ""), "it undoes no call");
}

/// That a person says it was done does not mean that the receiver has seen it, and the receiver is told so. One that does
/// not know of the call refuses, and the run does not say that it was compensated.
#[test]
fn a_compensation_of_a_call_that_a_person_vouched_for_says_so() {
    for (undo, expected) in [("/undo/a", "compensated"), ("/refuse", "escalated")] {
        vouched(undo, expected);
    }
}

fn vouched(undo: &str, expected: &str) {
    let (server, receiver) = (Server::start(), Receiver::start());
    defined(
        &server,
        "vouched",
        &format!(
            "  - {{ id: a, call: {{ url: \"{}\", on_uncertain: escalate }}, attempts_max: 1,\n      \
                compensate: {{ call: {{ url: \"{}\" }} }} }}\n  \
               - {{ id: b, call: {{ url: \"{}\" }} }}\n",
            receiver.url("/silent"),
            receiver.url(undo),
            receiver.url("/refuse")
        ),
    );
    let answer = start(&server, "vouched", "k", "");
    assert_eq!(answer.code(), "run-escalated", "{answer:?}");
    let id = answer.json()["run"]["id"].as_str().unwrap().to_owned();
    let call = uncertain(&server, 1)[0]["id"].as_str().unwrap().to_owned();
    let decree = r#"{"outcome":"committed","by":"ada","note":"I saw it"}"#;
    assert_eq!(server.post(&format!("/v1/uncertain/{call}/resolve"), "r", decree).status, 200);
    let restarted = server.post("/v1/runs/restart", "s", r#"{"saga":"vouched"}"#);
    assert_eq!((restarted.status, &restarted.json()["count"]), (200, &1.into()), "{restarted:?}");
    let run = server.get(&format!("/v1/runs/{id}?wait_ms=20000")).json();
    assert_eq!(run["state"], expected, "{run}");
    let (seen, key) = (receiver.seen(), format!("{id}/a/compensate"));
    let undo = seen.iter().find(|seen| seen.header("idempotency-key").contains(&key)).unwrap();
    assert_eq!(undone(undo), (&*key, &*format!("\"{id}/a\""), "resolved"));
}

#[test]
fn what_an_expression_gives_stays_in_its_segment() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let call = format!("  - {{ id: a, call: {{ url: \"{}${{input.v}}?q=${{input.v}}\" }} }}\n", receiver.url("/ok/"));
    defined(&server, "path", &call);
    for (key, value, line) in [
        ("k1", r#""x/admin?y=1#z""#, "POST /ok/x%2Fadmin%3Fy%3D1%23z?q=x%2Fadmin%3Fy%3D1%23z"),
        ("k2", r#""a\r\nHost: evil""#, "POST /ok/a%0D%0AHost%3A%20evil?q=a%0D%0AHost%3A%20evil"),
    ] {
        let answer = start(&server, "path", key, &format!(r#"{{"input":{{"v":{value}}}}}"#));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(receiver.lines().last().map(String::as_str), Some(line));
    }
    let reached = receiver.lines().len();
    for (key, value) in [("k3", ".."), ("k4", "x/../../admin"), ("k5", "..%2Fadmin"), ("k6", "..;x")] {
        let answer = start(&server, "path", key, &format!(r#"{{"input":{{"v":"{value}"}}}}"#));
        assert_eq!(answer.code(), "run-compensated", "{answer:?}");
        let path = answer.json()["run"]["path"].as_str().unwrap().to_owned();
        let run = server.get(&path).json();
        let evidence = run["steps"][0]["tried"][0]["evidence"].as_str().unwrap();
        assert!(evidence.starts_with("url must be in each segment of its path"), "{evidence}");
    }
    assert_eq!(receiver.lines().len(), reached, "nothing was sent");
}

/// What a receiver says in its headers is there for later steps where the definition keeps it, and nothing else of them.
#[test]
fn headers_of_an_answer_are_kept_for_later_steps() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let steps = format!(
        "  - {{ id: a, call: {{ url: \"{}\", keep: {{ headers: [location, x-part, etag] }} }} }}\n  \
           - {{ id: b, call: {{ url: \"{}\", body: {{ at: \"${{steps.a.headers.location}}\" }} }} }}\n\
         output: {{ all: \"${{steps.a.headers}}\", part: \"${{steps.a.headers.\\\"x-part\\\"}}\", none: \"${{steps.b.headers}}\" }}\n",
        receiver.url("/located"),
        receiver.url("/ok")
    );
    defined(&server, "kept", &steps);
    let answer = start(&server, "kept", "k", "");
    let output =
        serde_json::json!({ "all": { "location": "/ok/r-7", "x-part": "a, b" }, "part": "a, b", "none": null });
    assert_eq!((answer.status, &answer.json()["output"]), (200, &output), "{answer:?}");
    assert_eq!(receiver.seen()[1].body, r#"{"at":"/ok/r-7"}"#);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let call = server.get(&format!("/v1/operations/{id}%2Fa")).json().to_string();
    assert!(call.contains("/ok/r-7") && !call.contains("s=1"), "{call}");
    let wrong = "steps:\n  - { id: a, call: { url: \"http://127.0.0.1/\", keep: { headers: [set-cookie] } } }\n";
    let answer = define(&server, "wrong", wrong);
    assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (400, &"/steps/0/call/keep/headers/0".into()));
}

#[test]
fn many_escalated_runs_are_restarted_at_once() {
    let (server, receiver) = (Server::start(), Receiver::start());
    for name in ["one", "two"] {
        let call = format!("{{ url: \"{}\", on_uncertain: escalate }}", receiver.url(&format!("/silent-{name}")));
        defined(&server, name, &format!("  - {{ id: a, call: {call}, attempts_max: 1 }}\n"));
    }
    for (name, key) in [("one", "k1"), ("two", "k2"), ("one", "k3"), ("one", "k4")] {
        let answer = start(&server, name, key, "");
        assert_eq!(answer.code(), "run-escalated", "{answer:?}");
    }
    for (number, call) in uncertain(&server, 4).iter().enumerate() {
        let path = format!("/v1/uncertain/{}/resolve", call["id"].as_str().unwrap());
        let decree = r#"{"outcome":"committed","by":"ada","note":"I saw it"}"#;
        assert_eq!(server.post(&path, &format!("r{number}"), decree).status, 200);
    }
    let restart = |key: &str, body: &str| server.post("/v1/runs/restart", key, body);
    for body in ["{}", r#"{"state":"paused"}"#, r#"{"saga":"one","limit":0}"#, r#"{"saga":"one","from":"a b"}"#] {
        assert_eq!(restart("bad", body).status, 400, "{body}");
    }
    assert_eq!(restart("s1", r#"{"saga":"one","from":"nobody"}"#).json()["count"], 0);
    let first = restart("s2", r#"{"saga":"one","from":"a","limit":2}"#).json();
    assert_eq!((&first["control"], &first["count"]), (&"restart".into(), &2.into()), "{first}");
    let next = first["next"].as_str().unwrap();
    let second = restart("s3", &format!(r#"{{"saga":"one","limit":2,"cursor":"{next}"}}"#)).json();
    assert_eq!((&second["count"], &second["next"]), (&1.into(), &serde_json::Value::Null), "{second}");
    assert_eq!(restart("s4", r#"{"state":"escalated"}"#).json()["count"], 1);
    assert_eq!(restart("s5", r#"{"state":"escalated"}"#).json()["count"], 0, "each once");
    let ended = server.get("/v1/runs?state=done").json();
    assert_eq!(ended["items"].as_array().unwrap().len(), 4, "{ended}");
}
