//! Sagas through real sockets: what a run does, what it undoes, and what can be asked of it.

use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::calls::{Receiver, uncertain};
use crate::kit::{Answer, Server};

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn define(server: &Server, name: &str, yaml: &str) -> Answer {
    let key = format!("define-{name}-{}", yaml.len());
    let headers = [("content-type", "application/yaml"), ("idempotency-key", &*key)];
    server.connect().request("PUT", &format!("/v1/sagas/{name}"), &headers, &format!("name: {name}\n{yaml}"))
}

fn defined(server: &Server, name: &str, yaml: &str) {
    let answer = define(server, name, yaml);
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn start(server: &Server, name: &str, key: &str, body: &str) -> Answer {
    server.post(&format!("/v1/sagas/{name}/runs"), key, body)
}

/// Starts a run without waiting for it, and gives its id.
fn begin(server: &Server, name: &str, key: &str, body: &str) -> String {
    let path = format!("/v1/sagas/{name}/runs");
    let answer = server.connect().post(&path, key, &[("prefer", "respond-async")], body);
    assert_eq!((answer.status, answer.outcome()), (202, "uncertain"), "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(&*format!("/v1/runs/{id}")));
    id
}

fn run(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/runs/{id}")).json()
}

/// The run once it has ended.
fn end(server: &Server, id: &str) -> Value {
    let run = server.get(&format!("/v1/runs/{id}?wait_ms=20000")).json();
    assert!(!run["ended_at"].is_null(), "it has ended: {run}");
    run
}

/// The run once a step is in a state.
fn until(server: &Server, id: &str, step: usize, state: &str) -> Value {
    let began = Instant::now();
    loop {
        let run = run(server, id);
        if run["steps"][step]["state"] == state {
            return run;
        }
        assert!(began.elapsed() < PATIENCE, "step {step} is {state}: {run}");
        std::thread::yield_now();
    }
}

/// A run, without what differs from one time to the next.
fn told(run: &Value) -> String {
    let mut lines = vec![format!("{} {} {} {}", run["saga"], run["state"], run["why"], run["failed_step"])];
    for step in run["steps"].as_array().unwrap() {
        let tried: Vec<_> = step["tried"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| {
                format!(
                    "{} {}: {}",
                    t["attempt"],
                    t["outcome"].as_str().unwrap(),
                    t["evidence"].as_str().unwrap_or("-")
                )
            })
            .collect();
        let made = step["made"].as_object().map_or("-".to_owned(), |made| made.keys().cloned().collect());
        let of = |name: &str| step[name].as_str().unwrap().to_owned();
        lines.push(format!("{} {} {} [{made}] {}", of("id"), of("kind"), of("state"), tried.join("; ")));
    }
    let controls =
        run["controls"].as_array().unwrap().iter().map(|control| format!("{} {}", control["control"], control["from"]));
    lines.extend(controls);
    lines.join("\n")
}

#[track_caller]
fn check(run: &Value, expected: Expect) {
    expected.assert_eq(&told(run));
}

fn control(server: &Server, id: &str, verb: &str, body: &str) -> Answer {
    static KEYS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let key = format!("{verb}-{}", KEYS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    server.post(&format!("/v1/runs/{id}/{verb}"), &key, body)
}

/// A server with an account of everybody's and one that has money.
fn server() -> Server {
    let server = Server::start();
    server.open(&["shop", "ada"]);
    assert_eq!(server.transfer("fund", "world", "ada", 1_000).status, 201);
    server
}

#[test]
fn each_kind_of_step() {
    let (server, receiver) = (server(), Receiver::start());
    defined(
        &server,
        "greet",
        "steps: [{ id: hello, event: { topic: hellos, type: hello, data: \"${input}\" } }]\noutput: { said: \"${steps.hello.offset}\" }",
    );
    let url = receiver.url("/ok/reserve");
    defined(
        &server,
        "all",
        &format!(
            r#"
input: {{ who: {{ type: id }}, total: {{ type: amount }} }}
steps:
  - parallel:
      - {{ id: call, call: {{ url: "{url}", headers: {{ X-Who: "${{input.who}}" }}, body: {{ total: "${{input.total}}" }} }} }}
      - {{ id: pay, transfer: {{ from: "${{input.who}}", to: shop, amount: "${{input.total}}", memo: "for ${{input.who}}", metadata: {{ a: [1] }} }} }}
  - {{ id: back, reverse: {{ of: pay, amount: 1 }} }}
  - {{ id: hold, hold: {{ from: "${{input.who}}", to: shop, amount: 5 }} }}
  - {{ id: take, capture: {{ of: hold, amount: 3 }} }}
  - {{ id: set_aside, hold: {{ from: "${{input.who}}", to: shop, amount: 5, hold_ms: 60000 }} }}
  - {{ id: release, void: {{ of: set_aside }} }}
  - {{ id: rest, timer: {{ for_ms: 5 }} }}
  - {{ id: tell, event: {{ topic: orders, type: order.paid, key: "${{input.who}}", data: {{ transfer: "${{steps.pay.id}}" }} }} }}
  - {{ id: greet, saga: {{ name: greet, input: {{ reserved: "${{steps.call.body.id}}" }} }} }}
output: {{ reservation: "${{steps.call.body.id}}", status: "${{steps.call.status}}", said: "${{steps.greet.output.said}}", left: "${{steps.take.state}}" }}
"#
        ),
    );
    let answer = start(&server, "all", "k", r#"{"input":{"who":"ada","total":100}}"#);
    assert_eq!((answer.status, answer.outcome()), (200, "committed"), "{answer:?}");
    let json = answer.json();
    let offset = server.get("/v1/topics/hellos/events").json()["items"][0]["tertiumoffset"].clone();
    assert_eq!(json["output"]["said"].to_string(), offset.as_str().unwrap().trim_start_matches('0'));
    assert_eq!((&json["output"]["reservation"], &json["output"]["status"]), (&"r-1".into(), &200.into()));
    let run = run(&server, json["id"].as_str().unwrap());
    check(
        &run,
        expect![[r#"
        "all" "done" null null
        call call done [operation] 1 done: committed
        pay transfer done [transfer] 1 done: -
        back reverse done [transfer] 1 done: -
        hold hold done [transfer] 1 done: -
        take capture done [transfer] 1 done: -
        set_aside hold done [transfer] 1 done: -
        release void done [transfer] 1 done: -
        rest timer done [-] 1 done: -
        tell event done [offsettopic] 1 done: -
        greet saga done [run] 1 done: done"#]],
    );
    assert_eq!((server.balance("ada"), server.balance("shop")), (1_000 - 99 - 3, 99 + 3));
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].header("x-who"), seen[0].body.as_str()), (1, "ada", r#"{"total":100}"#));
    assert_eq!(seen[0].header("idempotency-key"), format!("\"{}/call\"", run["id"].as_str().unwrap()));
    let event = &server.get("/v1/topics/orders/events").json()["items"][0];
    let transfer = run["steps"][1]["made"]["transfer"].as_str().unwrap();
    assert_eq!((event["data"]["transfer"].as_str(), event["partitionkey"].as_str()), (Some(transfer), Some("ada")));
    let nested = end(&server, run["steps"][9]["made"]["run"].as_str().unwrap());
    assert_eq!((&nested["saga"], &nested["parent"]), (&"greet".into(), &run["id"]));
    let again = start(&server, "all", "k", r#"{"input":{"total":100,"who":"ada"}}"#);
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &answer.body), "byte for byte");
    assert_eq!(start(&server, "all", "k", r#"{"input":{"total":1,"who":"ada"}}"#).code(), "idempotency-key-reused");
}

#[test]
fn what_was_done_is_undone_in_reverse() {
    let (server, receiver) = (server(), Receiver::start());
    defined(
        &server,
        "undone",
        &format!(
            r#"
steps:
  - {{ id: reserve, call: {{ url: "{}" }}, compensate: {{ call: {{ url: "{}${{steps.reserve.body.id}}" }} }} }}
  - {{ id: pay, transfer: {{ from: ada, to: shop, amount: 10 }}, compensate: {{ reverse: true }} }}
  - {{ id: hold, hold: {{ from: ada, to: shop, amount: 10 }}, compensate: {{ void: true }} }}
  - {{ id: tell, event: {{ topic: t, type: told }} }}
  - {{ id: ship, call: {{ url: "{}" }} }}
  - {{ id: never, timer: {{ for_ms: 1 }} }}
"#,
            receiver.url("/ok/reserve"),
            receiver.url("/undo/"),
            receiver.url("/refuse")
        ),
    );
    let answer = start(&server, "undone", "k", "");
    assert_eq!((answer.status, &*answer.code(), answer.outcome()), (409, "run-compensated", "refused"), "{answer:?}");
    let end_of = &answer.json()["run"];
    assert_eq!((end_of["state"].as_str(), end_of["why"].as_str()), (Some("compensated"), Some("step_failed")));
    check(
        &run(&server, end_of["id"].as_str().unwrap()),
        expect![[r#"
        "undone" "compensated" "step_failed" "ship"
        reserve call compensated [operation] 1 done: committed; 2 compensated: committed
        pay transfer compensated [transfer] 1 done: -; 2 compensated: -
        hold hold compensated [transfer] 1 done: -; 2 compensated: -
        tell event compensated [offsettopic] 1 done: -
        ship call failed [operation] 1 failed: refused
        never timer skipped [-] "#]],
    );
    assert_eq!(receiver.lines(), ["POST /ok/reserve", "POST /refuse", "POST /undo/r-1"]);
    let account = server.get("/v1/accounts/ada").json();
    assert_eq!((account["balance"].as_i64(), account["held"].as_i64()), (Some(1_000), Some(0)));
    let operation = server.get("/v1/operations/k").json();
    assert_eq!((operation["outcome"].as_str(), operation["status"].as_u64()), (Some("refused"), Some(409)));
}

#[test]
fn an_uncertain_step_is_settled_before_it_is_undone() {
    let (server, receiver) = (server(), Receiver::start());
    defined(
        &server,
        "doubt",
        &format!(
            r#"
steps:
  - parallel:
      - id: a
        call:
          url: "{}"
          probe: {{ url: "{}", pointer: /state, values: {{ paid: committed }} }}
        attempts_max: 1
        compensate: {{ call: {{ url: "{}" }} }}
      - {{ id: b, call: {{ url: "{}" }} }}
"#,
            receiver.url("/silent-probed"),
            receiver.url("/state/{key}"),
            receiver.url("/undo/a"),
            receiver.url("/refuse-second")
        ),
    );
    let answer = start(&server, "doubt", "k", "");
    assert_eq!(answer.code(), "run-compensated", "{answer:?}");
    let id = answer.json()["run"]["id"].as_str().unwrap().to_owned();
    check(
        &run(&server, &id),
        expect![[r#"
        "doubt" "compensated" "step_failed" "b"
        a call compensated [operation] 1 done: committed; 2 compensated: committed
        b call failed [operation] 1 failed: refused"#]],
    );
    let lines: Vec<_> = receiver.lines().into_iter().filter(|line| line != "POST /refuse-second").collect();
    assert_eq!(lines, ["POST /silent-probed", &format!("GET /state/{id}%2Fa"), "POST /undo/a"]);
}

#[test]
fn past_its_pivot_a_run_goes_only_forward() {
    let (server, receiver) = (server(), Receiver::start());
    server.open_more(&["poor"]);
    defined(
        &server,
        "forward",
        &format!(
            r#"
steps:
  - {{ id: pay, transfer: {{ from: ada, to: shop, amount: 10 }}, compensate: {{ reverse: true }} }}
  - {{ id: ship, call: {{ url: "{}" }}, pivot: true }}
  - {{ id: settle, transfer: {{ from: poor, to: shop, amount: 7 }} }}
"#,
            receiver.url("/ok")
        ),
    );
    let id = begin(&server, "forward", "k", "");
    let waiting = until(&server, &id, 2, "retrying");
    assert_eq!(waiting["state"], "running");
    assert_eq!(control(&server, &id, "cancel", "").code(), "run-past-pivot");
    assert_eq!(server.transfer("at-last", "world", "poor", 7).status, 201);
    let run = end(&server, &id);
    assert_eq!((run["state"].as_str(), server.balance("shop")), (Some("done"), 17), "{run}");
    assert_eq!(receiver.lines(), ["POST /ok"]);
}

#[test]
fn cancel_pause_and_resume() {
    let server = server();
    server.open_more(&["poor"]);
    defined(
        &server,
        "slow",
        r#"
steps:
  - id: pay
    transfer: { from: poor, to: shop, amount: 10 }
    compensate: { reverse: true }
    attempts_max: 100
    timeout_ms: 3600000
  - { id: wait, timer: { for_ms: 3600000 } }
"#,
    );
    let id = begin(&server, "slow", "k", "");
    assert_eq!(control(&server, &id, "pause", "").json()["control"], "pause");
    until(&server, &id, 0, "retrying");
    assert_eq!(server.transfer("fund-poor", "world", "poor", 10).status, 201);
    let paused = server.get(&format!("/v1/runs/{id}?wait_ms=300")).json();
    assert_eq!((&paused["state"], &paused["steps"][0]["state"]), (&"paused".into(), &"retrying".into()), "{paused}");
    assert_eq!(server.balance("poor"), 10, "nothing is begun");
    assert_eq!(control(&server, &id, "restart", r#"{"from":"pay"}"#).code(), "run-not-possible");
    assert_eq!(control(&server, &id, "restart", r#"{"from":"nobody"}"#).code(), "step-not-found");
    assert_eq!(control(&server, &id, "resume", "{}").status, 200);
    until(&server, &id, 1, "running");
    assert_eq!(server.balance("poor"), 0);
    let first = server.post(&format!("/v1/runs/{id}/cancel"), "stop-it", "");
    assert_eq!((first.status, first.outcome()), (200, "committed"), "{first:?}");
    let again = server.post(&format!("/v1/runs/{id}/cancel"), "stop-it", "");
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    let run = end(&server, &id);
    assert_eq!((&run["state"], &run["why"]), (&"compensated".into(), &"cancelled".into()), "{run}");
    let controls: Vec<_> = run["controls"].as_array().unwrap().iter().map(|control| &control["control"]).collect();
    assert_eq!(controls, ["pause", "resume", "cancel"]);
    assert_eq!((server.balance("poor"), &run["steps"][1]["state"]), (10, &"skipped".into()));
    for verb in ["cancel", "pause", "resume"] {
        assert_eq!(control(&server, &id, verb, "").code(), "run-not-possible", "{verb}");
    }
    assert_eq!(control(&server, "01890a5d-ac96-774b-bcce-b302099a8057", "cancel", "").code(), "run-not-found");
    assert_eq!(server.get("/v1/runs/nobody").code(), "run-not-found");
}

#[test]
fn an_escalated_run_is_restarted_from_a_step() {
    let (server, receiver) = (server(), Receiver::start());
    defined(
        &server,
        "stuck",
        &format!(
            r#"
steps:
  - {{ id: pay, transfer: {{ from: ada, to: shop, amount: 10 }}, compensate: {{ reverse: true }} }}
  - {{ id: ship, call: {{ url: "{}", on_uncertain: escalate }}, attempts_max: 1 }}
output: {{ done: "${{steps.ship.body.done}}" }}
"#,
            receiver.url("/silent-once")
        ),
    );
    let answer = start(&server, "stuck", "k", "");
    assert_eq!((answer.status, &*answer.code(), answer.outcome()), (409, "run-escalated", "uncertain"), "{answer:?}");
    let id = answer.json()["run"]["id"].as_str().unwrap().to_owned();
    check(
        &run(&server, &id),
        expect![[r#"
        "stuck" "escalated" null null
        pay transfer done [transfer] 1 done: -
        ship call uncertain [operation] 1 uncertain: nobody knows whether the call was done"#]],
    );
    let escalated = server.get("/v1/runs?state=escalated&saga=stuck").json();
    assert_eq!((&escalated["items"][0]["id"], escalated["items"].as_array().unwrap().len()), (&Value::from(&*id), 1));
    let event = &server.get("/v1/topics/tertium.escalations/events").json()["items"];
    assert!(event.as_array().unwrap().iter().any(|event| event["data"]["run"] == *id), "{event}");

    let call = uncertain(&server, 1)[0]["id"].as_str().unwrap().to_owned();
    let decree = r#"{"outcome":"refused","by":"ada","note":"the parcel is still here"}"#;
    assert_eq!(server.post(&format!("/v1/uncertain/{call}/resolve"), "r", decree).status, 200);
    assert_eq!(control(&server, &id, "restart", r#"{"from":"ship"}"#).status, 200);
    let run = end(&server, &id);
    check(
        &run,
        expect![[r#"
        "stuck" "done" null null
        pay transfer done [transfer] 1 done: -
        ship call done [operation] 1 uncertain: nobody knows whether the call was done; 2 done: committed
        "restart" "ship""#]],
    );
    assert_eq!(run["output"]["done"], true);
    assert_eq!((receiver.lines().len(), server.balance("shop")), (2, 10), "paid once");
    let now = start(&server, "stuck", "k", "");
    assert_eq!((now.status, now.json()["state"].as_str()), (200, Some("done")), "its end is found under its key");
    assert_eq!(server.get("/v1/runs?state=escalated").json()["items"].as_array().unwrap().len(), 0);
    assert_eq!(server.get("/v1/runs?state=done").json()["items"][0]["id"], *id);
}

#[test]
fn a_run_may_start_later() {
    let server = server();
    defined(&server, "later", "steps: [{ id: tell, event: { topic: t, type: told } }]");
    let far = begin(&server, "later", "far", r#"{"delay_ms":3600000}"#);
    let list = server.get("/v1/runs?state=delayed").json();
    assert_eq!(list["items"][0]["id"], *far);
    assert_eq!(run(&server, &far)["steps"][0]["state"], "pending");
    assert_eq!(control(&server, &far, "cancel", "").status, 200);
    assert_eq!(end(&server, &far)["state"], "compensated");
    let near = end(&server, &begin(&server, "later", "near", r#"{"delay_ms":50}"#));
    let at = |name: &str| near[name].as_str().unwrap().to_owned();
    assert!(at("started_at") < at("starts_at") && at("starts_at") <= at("ended_at"), "{near}");
    assert_eq!(near["state"], "done");
}

#[test]
fn a_nested_run_that_fails_fails_its_step() {
    let server = server();
    defined(&server, "inner", "steps: [{ id: pay, transfer: { from: ada, to: shop, amount: \"${input.n}\" } }]");
    defined(
        &server,
        "outer",
        r#"
steps:
  - { id: pay, transfer: { from: ada, to: shop, amount: 1 }, compensate: { reverse: true } }
  - { id: sub, saga: { name: inner, input: { n: 5000 } } }
"#,
    );
    defined(&server, "picky", "input: { n: { type: amount } }\nsteps: [{ id: rest, timer: { for_ms: 1 } }]");
    defined(&server, "careless", "steps: [{ id: sub, saga: { name: picky, input: { n: 0 } } }]");
    defined(&server, "orphan", "steps: [{ id: sub, saga: { name: nobody } }]");
    defined(&server, "endless", "steps: [{ id: sub, saga: { name: endless } }]");
    for (name, what) in [
        ("outer", "compensated"),
        ("careless", "saga.input: /n: must be an amount"),
        ("orphan", "SagaNotFound"),
        ("endless", "compensated"),
    ] {
        let answer = start(&server, name, name, "");
        assert_eq!(answer.code(), "run-compensated", "{answer:?}");
        let run = run(&server, answer.json()["run"]["id"].as_str().unwrap());
        let step = run["steps"].as_array().unwrap().last().unwrap();
        assert!(step["tried"][0]["evidence"].as_str().unwrap().contains(what), "{name}: {run}");
    }
    assert_eq!(server.balance("ada"), 1_000);
}

#[test]
fn open_runs_keep_their_definition() {
    let server = server();
    let of = |ms: u64| format!("steps: [{{ id: wait, timer: {{ for_ms: {ms} }} }}]");
    defined(&server, "v", &of(3_600_000));
    let old = begin(&server, "v", "old", "");
    let second = define(&server, "v", &of(1));
    assert_eq!((second.status, second.json()["version"].as_u64()), (200, Some(2)), "{second:?}");
    let new = end(&server, &begin(&server, "v", "new", ""));
    assert_eq!((new["version"].as_u64(), run(&server, &old)["version"].as_u64()), (Some(2), Some(1)));
    let ms = |query: &str| {
        server.get(&format!("/v1/sagas/v{query}")).json()["definition"]["steps"][0]["timer"]["for_ms"].clone()
    };
    assert_eq!((ms(""), ms("?version=2"), ms("?version=1")), (1.into(), 1.into(), 3_600_000.into()));
    assert_eq!(server.get("/v1/sagas/v?version=3").code(), "saga-not-found");
    assert_eq!(server.get("/v1/sagas/v?version=0").status, 400);
    assert_eq!(server.get("/v1/sagas/w").code(), "saga-not-found");
    assert_eq!(run(&server, &old)["state"], "running");
    let list = server.get("/v1/sagas").json();
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][0]["version"], &list["next"]),
        (&"v".into(), &2.into(), &Value::Null)
    );
}

#[test]
fn whoever_waits_is_answered_by_their_deadline() {
    let server = server();
    defined(&server, "long", "steps: [{ id: wait, timer: { for_ms: 3600000 } }]");
    let id = begin(&server, "long", "k", "{}");
    let asked = Instant::now();
    let path = "/v1/sagas/long/runs";
    let answer = server.connect().post(path, "k", &[("x-request-deadline", "1s")], "{}");
    assert_eq!((answer.status, answer.outcome()), (202, "uncertain"), "{answer:?}");
    assert_eq!(answer.json()["id"].as_str(), Some(&*id), "the same run: {answer:?}");
    assert_eq!(answer.header("location"), Some(&*format!("/v1/runs/{id}")));
    assert!(asked.elapsed() >= Duration::from_millis(900), "it was waited for");
    let operation = server.get("/v1/operations/k").json();
    assert_eq!((operation["outcome"].as_str(), operation["status"].as_u64()), (Some("uncertain"), Some(202)));
    assert!(run(&server, &id)["ended_at"].is_null());
    let waited = server.get(&format!("/v1/runs/{id}?wait_ms=100")).json();
    assert_eq!(waited["state"], "running");
}

#[test]
fn a_run_goes_on_after_a_restart_of_the_server() {
    let mut server = Server::with(|config| config.limits.stop_grace = Duration::from_millis(250));
    let receiver = Receiver::start();
    server.open(&["shop", "ada"]);
    assert_eq!(server.transfer("fund", "world", "ada", 1_000).status, 201);
    defined(
        &server,
        "on",
        &format!(
            r#"
steps:
  - {{ id: pay, transfer: {{ from: ada, to: shop, amount: 10 }}, compensate: {{ reverse: true }} }}
  - parallel:
      - id: ask
        call: {{ url: "{}", probe: {{ url: "{}", pointer: /state, values: {{ paid: committed }} }} }}
        timeout_ms: 60000
      - {{ id: rest, timer: {{ for_ms: 300 }} }}
  - {{ id: tell, event: {{ topic: t, type: told }} }}
"#,
            receiver.url("/slow"),
            receiver.url("/state/{key}")
        ),
    );
    let id = begin(&server, "on", "k", "");
    let began = Instant::now();
    while receiver.lines().is_empty() {
        assert!(began.elapsed() < PATIENCE, "the receiver is called");
        std::thread::yield_now();
    }
    server.restart();
    let run = end(&server, &id);
    check(
        &run,
        expect![[r#"
        "on" "done" null null
        pay transfer done [transfer] 1 done: -
        ask call done [operation] 1 done: committed
        rest timer done [-] 1 done: -
        tell event done [offsettopic] 1 done: -"#]],
    );
    assert_eq!(receiver.lines(), ["POST /slow", &format!("GET /state/{id}%2Fask")]);
    assert_eq!(
        (server.balance("ada"), server.get("/v1/topics/t/events").json()["items"].as_array().unwrap().len()),
        (990, 1)
    );
    let answer = start(&server, "on", "k", "");
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, Some("true")), "{answer:?}");
}

#[test]
fn many_runs_at_once() {
    let server = server();
    let waits = "steps: [{ id: wait, timer: { for_ms: 3600000 } }]";
    defined(&server, "many", waits);
    defined(&server, "other", waits);
    let ids: Vec<String> = (0..5).map(|n| begin(&server, "many", &format!("k{n}"), "")).collect();
    let other = begin(&server, "other", "other", "");
    let list = server.get("/v1/runs?saga=many&limit=3").json();
    let rest = server.get(&format!("/v1/runs?saga=many&limit=3&cursor={}", list["next"].as_str().unwrap())).json();
    let found: Vec<_> = [&list, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((&found, &rest["next"]), (&ids, &Value::Null), "oldest first");
    assert_eq!(server.get("/v1/runs").json()["items"].as_array().unwrap().len(), 6);
    assert_eq!(server.get(&format!("/v1/runs?cursor={}", list["next"].as_str().unwrap())).code(), "cursor-invalid");
    assert_eq!(server.get("/v1/runs?state=gone").status, 400);
    let first = server.post("/v1/runs/pause", "p1", r#"{"saga":"many","limit":3}"#).json();
    assert_eq!((&first["control"], &first["count"]), (&"pause".into(), &3.into()), "{first}");
    let next = first["next"].as_str().unwrap();
    let second =
        server.post("/v1/runs/pause", "p2", &format!(r#"{{"saga":"many","limit":3,"cursor":"{next}"}}"#)).json();
    assert_eq!((&second["count"], &second["next"]), (&2.into(), &Value::Null), "{second}");
    assert_eq!(server.get("/v1/runs?state=paused").json()["items"].as_array().unwrap().len(), 5);
    assert_eq!(run(&server, &other)["state"], "running");
    assert_eq!(server.post("/v1/runs/resume", "r", r#"{"state":"paused"}"#).json()["count"], 5);
    assert_eq!(server.post("/v1/runs/cancel", "c", r#"{"saga":"many"}"#).json()["count"], 5);
    for id in &ids {
        assert_eq!(end(&server, id)["state"], "compensated");
    }
    let ended = server.get("/v1/runs?state=compensated&limit=4").json();
    assert_eq!(ended["items"].as_array().unwrap().len(), 4);
    assert_eq!(server.post("/v1/runs/cancel", "all", "{}").status, 400, "not every run there is");
    assert_eq!(server.post("/v1/runs/cancel", "zero", r#"{"saga":"many","limit":0}"#).status, 400);
}

/// What stands between two pieces of `docs/sagas.md`.
fn printed(from: &str, to: &str) -> &'static str {
    const DOCUMENT: &str = include_str!("../../../../docs/sagas.md");
    let rest = DOCUMENT.split_once(from).expect(from).1;
    rest.split_once(to).expect(to).0
}

#[test]
fn the_example_of_the_documentation_runs_as_printed() {
    let (server, receiver) = (server(), Receiver::start());
    let definition = printed("```yaml\nname: checkout\n", "```");
    defined(&server, "checkout", definition);
    let input = printed("--input '", "'\n").replace("http://127.0.0.1:9001", &receiver.url(""));
    let poor = start(&server, "checkout", "poor", &format!(r#"{{"input":{input}}}"#));
    assert_eq!(poor.code(), "run-compensated", "ada has too little: {poor:?}");
    // The hold may have failed before the reservation was begun; one that was made was deleted.
    let before = receiver.lines();
    let undone = ["POST /reservations", "DELETE /reservations/r-1"];
    assert!(before.is_empty() || before == undone, "{before:?}");
    assert_eq!(server.transfer("more", "world", "ada", 1_000).status, 201);
    let answer = start(&server, "checkout", "order/o-1", &format!(r#"{{"input":{input}}}"#));
    assert_eq!(answer.status, 200, "{answer:?}");
    let run = run(&server, answer.json()["id"].as_str().unwrap());
    assert_eq!(run["output"]["tracking"], "t-1");
    assert_eq!(run["output"]["transfer"], run["steps"][1]["made"]["transfer"]);
    assert_eq!((server.balance("ada"), server.balance("shop")), (750, 1_250));
    assert_eq!(receiver.lines()[before.len()..], ["POST /reservations", "POST /parcels"]);
    let event = &server.get("/v1/topics/orders/events").json()["items"][0];
    assert_eq!((&event["type"], &event["data"]["order"]), (&"order.paid".into(), &"o-1".into()));
}
