use std::collections::BTreeSet;

use machine::{
    BatchEncoder, Body, Control, Event, Granted, HolderView, LeaseRecord, LeaseView, Plan, PlannedStep, Record, RunEnd,
    SagaRecord, Settings, StepKind, StepOutcome, StepView, Texts, TopicRecord, TopicRetention, Why,
};
use words::{CellName, Outcome, Position, Stamp, TransferId};

use super::*;
use crate::answer::tests::{moved, record};
use crate::answer::{Item, ItemVerdict, answer_of};
use crate::problem::Problem;
use crate::request::{
    ControlVerb, EventForm, parse_account, parse_acquire, parse_batch, parse_capture, parse_control,
    parse_control_many, parse_events, parse_letters, parse_line, parse_release, parse_renew, parse_run,
    parse_subscription, parse_topic, parse_transfer, parse_void,
};
use crate::saga;
use crate::view::{Account, Operation, Ready, write_accounts, write_history, write_operation, write_ready};

/// Every path and method of the contract, and no others.
#[test]
fn the_paths_of_the_contract() {
    let document = value();
    let mut found: Vec<String> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        found.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    let expected = [
        "get /errors/{code}",
        "get /healthz",
        "get /metrics",
        "get /openapi.json",
        "get /readyz",
        "get /v1/accounts",
        "post /v1/accounts",
        "get /v1/accounts/{id}",
        "get /v1/accounts/{id}/transfers",
        "post /v1/calls",
        "get /v1/leases",
        "get /v1/leases/{name}",
        "post /v1/leases/{name}/acquire",
        "post /v1/leases/{name}/release",
        "post /v1/leases/{name}/renew",
        "get /v1/nodes",
        "post /v1/nodes/{node}/promote",
        "get /v1/operations/{key}",
        "post /v1/operations/{key}/settle",
        "get /v1/runs",
        "post /v1/runs/cancel",
        "post /v1/runs/pause",
        "post /v1/runs/restart",
        "post /v1/runs/resume",
        "get /v1/runs/{id}",
        "post /v1/runs/{id}/cancel",
        "post /v1/runs/{id}/pause",
        "post /v1/runs/{id}/restart",
        "post /v1/runs/{id}/resume",
        "get /v1/sagas",
        "get /v1/sagas/{name}",
        "put /v1/sagas/{name}",
        "post /v1/sagas/{name}/runs",
        "get /v1/subscriptions",
        "delete /v1/subscriptions/{name}",
        "get /v1/subscriptions/{name}",
        "put /v1/subscriptions/{name}",
        "post /v1/subscriptions/{name}/ack",
        "get /v1/subscriptions/{name}/dead-letters",
        "post /v1/subscriptions/{name}/dead-letters/drop",
        "post /v1/subscriptions/{name}/dead-letters/replay",
        "get /v1/subscriptions/{name}/events",
        "get /v1/topics",
        "put /v1/topics/{topic}",
        "get /v1/topics/{topic}/events",
        "post /v1/topics/{topic}/events",
        "post /v1/transfers",
        "post /v1/transfers/batch",
        "get /v1/transfers/{id}",
        "post /v1/transfers/{id}/capture",
        "post /v1/transfers/{id}/reverse",
        "post /v1/transfers/{id}/void",
        "get /v1/uncertain",
        "post /v1/uncertain/{id}/resolve",
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_reference_leads_somewhere() {
    fn visit(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| visit(document, member));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(document, item)),
            _ => {}
        }
    }
    let document = value();
    visit(&document, &document);
    assert_eq!(serde_json::from_str::<Value>(&super::document()).unwrap(), document);
}

#[test]
fn operations_have_names_of_their_own() {
    let document = value();
    let mut names = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        }
    }
}

/// Each code of a response is one that has its status.
#[test]
fn codes_stand_at_their_status() {
    let document = value();
    let mut seen = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if response["content"].get(PROBLEM_TYPE).is_none() {
                    continue;
                }
                for text in response["description"].as_str().unwrap().split(", ") {
                    let code = Code::parse(text).expect(text);
                    assert_eq!(&code.status().to_string(), status, "{text}");
                    seen.insert(code);
                }
            }
        }
    }
    let unseen: Vec<_> =
        crate::codes::TABLE.iter().filter(|row| !seen.contains(&row.code)).map(|row| row.text).collect();
    assert!(unseen.is_empty(), "codes that no path answers: {unseen:?}");
}

/// The members of a schema: (required, all).
fn members(document: &Value, schema: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let schema = &document["components"]["schemas"][schema];
    let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    (required.collect(), schema["properties"].as_object().unwrap().keys().cloned().collect())
}

/// Parsers take exactly the members of their schema: they name those they know when they meet one they do not.
#[test]
fn requests_are_what_parsers_take() {
    let document = value();
    let unknown: &[u8] = br#"{"?":1}"#;
    let line = |line: &[u8]| parse_line(line, &mut BatchEncoder::new(1)).unwrap_err().1;
    let transfer = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (schema, problem, empty) in [
        ("AccountRequest", parse_account(unknown, "", "k").unwrap_err(), parse_account(b"{}", "", "k").err()),
        ("TransferRequest", parse_transfer(unknown, "", "k").unwrap_err(), parse_transfer(b"{}", "", "k").err()),
        ("Item", line(unknown), Some(line(b"{}"))),
        ("BatchRequest", parse_batch(unknown, "", "k").unwrap_err(), parse_batch(b"{}", "", "k").err()),
        ("PartRequest", parse_capture(transfer, unknown, "", "k").unwrap_err(), None),
        ("PublishRequest", parse_events(EventForm::Short, unknown).unwrap_err(), None),
        ("TopicRequest", parse_topic("t", unknown, "", "k").unwrap_err(), parse_topic("t", b"{}", "", "k").err()),
        (
            "SubscriptionRequest",
            parse_subscription("s", unknown, "", "k", |_| Ok(())).unwrap_err(),
            parse_subscription("s", b"{}", "", "k", |_| Ok(())).err(),
        ),
        ("RunRequest", parse_run("s", unknown, "", "k", |_| Ok(())).unwrap_err(), None),
        (
            "RestartRequest",
            parse_control(1, ControlVerb::Restart, unknown, "", "k", |_| Ok(0)).unwrap_err(),
            parse_control(1, ControlVerb::Restart, b"{}", "", "k", |_| Ok(0)).err(),
        ),
        ("RunsRequest", parse_control_many(ControlVerb::Cancel, unknown, "", "k").unwrap_err(), None),
        ("RestartsRequest", parse_control_many(ControlVerb::Restart, unknown, "", "k").unwrap_err(), None),
        ("AcquireRequest", parse_acquire("l", unknown, "", "k").unwrap_err(), parse_acquire("l", b"{}", "", "k").err()),
        ("RenewRequest", parse_renew("l", unknown, "", "k").unwrap_err(), parse_renew("l", b"{}", "", "k").err()),
        ("ReleaseRequest", parse_release("l", unknown, "", "k").unwrap_err(), parse_release("l", b"{}", "", "k").err()),
        ("LettersRequest", parse_letters("s", true, unknown, "", "k").unwrap_err(), None),
        ("VoidRequest", parse_void(transfer, unknown, "", "k").unwrap_err(), None),
    ] {
        let (required, all) = members(&document, schema);
        let known: BTreeSet<String> = problem.detail.split('`').skip(3).step_by(2).map(ToOwned::to_owned).collect();
        assert_eq!(known, all, "{schema}: {problem}");
        assert_eq!(empty.is_some(), !required.is_empty(), "{schema}");
    }
}

/// Checks that a written object has all required members of a schema and none that it does not name.
fn check_written(document: &Value, schema: &str, written: &Value) {
    let (required, all) = members(document, schema);
    let found: BTreeSet<String> = written.as_object().expect(schema).keys().cloned().collect();
    assert!(required.is_subset(&found), "{schema} lacks {:?}", required.difference(&found));
    assert!(found.is_subset(&all), "{schema} has {:?}", found.difference(&all));
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    serde_json::from_slice(&out).unwrap()
}

/// The answers to what is asked of topics, and an event.
fn check_topics(document: &Value) {
    let check = |schema, value: &Value| check_written(document, schema, value);
    let mut topics = Vec::new();
    Texts::push(&mut topics, "orders");
    let topics = Texts::new(&topics);
    let none = Texts::NONE;
    let settings = Settings { topics, prefixes: none, url: "", secrets: none, pause_after_ms: 60_000, paused: false };
    let retention = TopicRetention { ms: 60_000, bytes_max: None };
    for (schema, body) in [
        ("Published", TopicRecord::PublishedAll { topic: "orders", first: 1, count: 2 }),
        ("TopicKept", TopicRecord::Kept { topic: "orders", retention }),
        ("SubscriptionSet", TopicRecord::Subscribed { name: "s", number: 1, generation: 1, next: 1, settings }),
        ("SubscriptionNamed", TopicRecord::Unsubscribed { name: "s", number: 1 }),
        ("Acknowledged", TopicRecord::Acknowledged { name: "s", next: 1 }),
        ("LettersReplayed", TopicRecord::LettersMoved { name: "s", count: 1, replay: true }),
        ("LettersDropped", TopicRecord::LettersMoved { name: "s", count: 1, replay: false }),
    ] {
        check(schema, &serde_json::from_slice(&answer_of(&record(Body::Topic(body)), []).body).unwrap());
    }
    let cell = CellName::new("main").unwrap();
    let event = record(Body::Moved(moved(Event::Posted)));
    check("CloudEvent", &written(|out| assert!(crate::event::write_event(out, &cell, 1, &event))));
    check("EventPage", &written(|out| crate::topic::write_events(out, &cell, &[], 1, true)));
}

/// The answers to what is asked of sagas and runs.
fn check_sagas(document: &Value) {
    let check = |schema, value: &Value| check_written(document, schema, value);
    let answered = |body| serde_json::from_slice(&answer_of(&record(Body::Saga(body)), []).body).unwrap();
    let id = TransferId::new(1, 2, 3);
    let step = PlannedStep {
        id: "a".to_owned(),
        kind: StepKind::Call,
        after: Vec::new(),
        timeout_ms: 1,
        attempts_max: 1,
        pivot: false,
        compensation: None,
    };
    let plan = Plan { deadline_ms: 1, has_output: false, steps: vec![step], reads: None };
    let defined = SagaRecord::Defined { name: "s", version: 1, previous: 0, plan: b"", document: "{}" };
    check("SagaVersion", &answered(defined));
    check("SagaDefined", &written(|out| assert!(saga::write_definition(out, &record(Body::Saga(defined))))));
    let end = |end, why| SagaRecord::Ended { run: 3, id, previous: 3, end, why, output: "", state: b"" };
    check("RunEnd", &answered(end(RunEnd::Done, None)));
    for (end, code) in [
        (end(RunEnd::Compensated, Some(Why::Deadline)), "run-compensated"),
        (end(RunEnd::Escalated, Some(Why::Failed { step: 0 })), "run-escalated"),
    ] {
        let problem = answered(end);
        check("Problem", &problem);
        check("RunEnd", &problem["run"]);
        assert_eq!((&problem["code"], &problem["run"]["id"]), (&code.into(), &id.to_string().into()));
    }
    check("RunControlled", &answered(SagaRecord::Controlled { run: 3, id, previous: 3, control: Control::Cancel }));
    check("RunsControlled", &answered(SagaRecord::ControlledMany { control: Control::Pause, count: 1, next: 0 }));
    check("RunAccepted", &serde_json::from_slice(&saga::run_pending(id, "k").body).unwrap());
    let summary = saga::SagaSummary { name: "s", version: 1, steps: 1, runs: 0 };
    let page = written(|out| saga::write_sagas(out, [summary, summary], Some("s")));
    check("SagaPage", &page);
    check("SagaSummary", &page["items"][1]);
    let summary = saga::RunSummary {
        id,
        saga: "s",
        version: 1,
        state: "running",
        why: None,
        failed: "",
        started: Stamp::ZERO,
        deadline: None,
        ended: None,
    };
    let page = written(|out| saga::write_runs(out, [summary, summary], None));
    check("RunPage", &page);
    check("RunSummary", &page["items"][1]);
    let stepped = |attempt, event| {
        let body = SagaRecord::Stepped { run: 3, previous: 3, step: 0, attempt, event, what: 0, evidence: "" };
        record(Body::Saga(body))
    };
    let restarted = record(Body::Saga(SagaRecord::Restarted { run: 3, previous: 3, step: 0, deadline: Stamp::ZERO }));
    let asked = |control, principal| {
        let body = Body::Saga(SagaRecord::Controlled { run: 3, id, previous: 3, control });
        Record { principal, ..record(body) }
    };
    let records = [
        stepped(1, StepOutcome::Refused),
        stepped(2, StepOutcome::Uncertain),
        // As an earlier version wrote it, without the record of who asked.
        restarted,
        restarted,
        asked(Control::Restart { step: 0 }, "ops"),
        asked(Control::Cancel, "ada"),
    ];
    let started = SagaRecord::Started {
        saga: "s",
        definition: 1,
        input: "{}",
        starts: Stamp::ZERO,
        deadline: Stamp::ZERO,
        parent: None,
    };
    let step = StepView { state: "uncertain", attempt: 2, record: 0, waits: None };
    let shown = saga::Run {
        summary,
        started: record(Body::Saga(started)),
        plan: &plan,
        ended: None,
        parent: None,
        steps: &[(step, None)],
        records: &records,
        is_cut: false,
    };
    let run = written(|out| assert!(saga::write_run(out, &shown)));
    check("Run", &run);
    let step = &run["steps"][0];
    check("RunStep", step);
    check("StepTried", &step["tried"][1]);
    let controls = run["controls"].as_array().expect("a list");
    controls.iter().for_each(|control| check("RunControl", control));
    let told: Vec<_> = controls.iter().map(|told| [&told["control"], &told["from"], &told["by"]]).collect();
    let expected = json!([["restart", "a", null], ["restart", "a", "ops"], ["cancel", null, "ada"]]);
    assert_eq!(json!(told), expected);
    assert_eq!(step["made"]["operation"], format!("/v1/operations/{id}%2Fa"), "found whatever became of it");
}

/// The answers to what is asked of leases.
fn check_leases(document: &Value) {
    let check = |schema, value: &Value| check_written(document, schema, value);
    let (name, owner, token, expires, metadata) = ("l", "o", 1, Stamp::ZERO, "");
    let granted = Granted { name, owner, token, capacity: 1, ttl_ms: 1, expires, metadata, began: None };
    for (schema, body) in [
        ("LeaseGranted", LeaseRecord::Granted(granted)),
        ("LeaseRenewed", LeaseRecord::Renewed { name, owner, token, expires }),
        ("LeaseReleased", LeaseRecord::Released { name, owner, token }),
        ("Operation", LeaseRecord::Waiting { asked: ASKED, until: expires }),
        ("Problem", LeaseRecord::GaveUp { began: 1, name, holders: 1, expires_in_ms: 1 }),
    ] {
        check(schema, &serde_json::from_slice(&answer_of(&record(Body::Lease(body)), []).body).unwrap());
    }
    let metadata = String::new();
    let holder = HolderView { owner: owner.to_owned(), token, granted: expires, expires, metadata };
    let view = LeaseView { name: name.to_owned(), capacity: 1, holders: vec![holder], waiting: 0 };
    let page = written(|out| crate::lease::write_leases(out, &[view], None));
    check("LeasePage", &page);
    check("Lease", &page["items"][0]);
    check("LeaseHolder", &page["items"][0]["holders"][0]);
    check("Lease", &written(|out| crate::lease::write_lease(out, name, None)));
}

const ASKED: machine::Acquire<'_> =
    machine::Acquire { name: "l", owner: "o", ttl_ms: 1, capacity: 1, wait_ms: None, metadata: "" };

#[test]
fn answers_are_what_writers_write() {
    let document = value();
    let check = |schema, value: &Value| check_written(&document, schema, value);
    let opened = machine::Opened { id: "a", unit: "EUR", floor: None, metadata: "" };
    let account = Account::opened(&opened, Stamp::ZERO);
    let page = written(|out| write_accounts(out, [account], None));
    check("AccountPage", &page);
    check("Account", &page["items"][0]);
    for event in [Event::Posted, Event::Held, Event::Reversal] {
        let record = record(Body::Moved(moved(event)));
        check("Transfer", &serde_json::from_slice(&answer_of(&record, []).body).unwrap());
        let page = written(|out| write_history(out, "alice", [record], None));
        check("HistoryPage", &page);
        check("HistoryLine", &page["items"][0]);
    }
    let problem = Problem::field(Code::Overloaded, "f", "x")
        .with_operation("k")
        .with_retry_after_ms(1)
        .with_allowed(&["GET"])
        .with_could_have("eventual")
        .with_errors([("/a".to_owned(), "x".to_owned())])
        .with_line_and_column(1, 2);
    check("Problem", &serde_json::from_slice(&problem.answer().body).unwrap());
    let refusal = machine::Refusal { code: machine::Code::SameAccount, about: "a", had: 0, wanted: 0 };
    let problem = Problem::of_batch(1, "k", &refusal, "k");
    check("Problem", &serde_json::from_slice(&problem.answer().body).unwrap());
    for verdict in [ItemVerdict::Refused(refusal), ItemVerdict::Decided(record(Body::Moved(moved(Event::Posted))))] {
        let answer = written(|out| crate::answer::write_items(out, [Item { key: "k", verdict }]));
        check("BatchAnswer", &answer);
        check("ItemAnswer", &answer["items"][0]);
    }
    check_topics(&document);
    check_sagas(&document);
    check_leases(&document);
    let cell = CellName::new("main").unwrap();
    let position = (&cell, Position::START);
    check(
        "Ready",
        &written(|out| {
            write_ready(
                out,
                &Ready {
                    ready: true,
                    role: "leader",
                    node: "a",
                    epoch: 1,
                    leader: "a",
                    position,
                    lag_ms: 0,
                    reason: "",
                },
            )
        }),
    );
    let operation = Operation {
        key: "k",
        outcome: Outcome::Uncertain,
        status: 202,
        body: b"",
        position: None,
        received: None,
        decided: None,
        expires: None,
        replays: 0,
        joins: 0,
    };
    check("Operation", &written(|out| write_operation(out, &operation)));
}
