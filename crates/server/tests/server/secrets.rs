//! What the server's settings say to a write: secrets that stand in files, whose they are, and first answers that stay as they
//! were whatever the settings say later.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use edge::{Keys, Role};
use serde_json::json;

use crate::calls::Receiver;
use crate::kit::{Answer, Server};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn write_secrets(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn put(server: &Server, key: &str, headers: &[(&str, &str)], settings: &serde_json::Value) -> Answer {
    let mut all = vec![("content-type", "application/json"), ("idempotency-key", key)];
    all.extend_from_slice(headers);
    server.connect().request("PUT", "/v1/subscriptions/mail", &all, &settings.to_string())
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// All that is in the data directory but its files of secrets.
fn data_of(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(data_of(&path)),
            false if path.extension().is_some_and(|extension| extension == "toml") => {}
            false => all.extend(std::fs::read(&path).unwrap()),
        }
    }
    all
}

#[test]
fn a_secret_is_shown_to_the_receiver_and_kept_nowhere_else() {
    let mut data = std::path::PathBuf::new();
    let mut server = Server::with(|config| {
        std::fs::create_dir_all(&config.data).unwrap();
        write_secrets(&config.call_secrets_path(), "pay = \"hunter2\"\n");
        data.clone_from(&config.data);
    });
    let receiver = Receiver::start();
    let body = |header: &str| json!({"url": receiver.url("/ok"), "headers": {"Authorization": header}}).to_string();
    let made = server.post("/v1/calls", "k1", &body("Bearer ${secret:pay}"));
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(receiver.seen()[0].header("authorization"), "Bearer hunter2");
    let unknown = server.post("/v1/calls", "k2", &body("Bearer ${secret:other}"));
    assert_eq!(code(&unknown), (400, "invalid-request".to_owned()), "{unknown:?}");
    let malformed = server.post("/v1/calls", "k2", &body("Bearer ${secret:pay"));
    assert_eq!(code(&malformed), (400, "invalid-request".to_owned()), "{malformed:?}");
    let literal = server.post("/v1/calls", "k3", &body("Bearer hunter3"));
    assert_eq!(literal.status, 200, "{literal:?}");
    server.stop();
    let data = data_of(&data);
    let has = |text: &str| data.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("${secret:pay}") && !has("hunter2"), "a secret is stored");
    assert!(has("hunter3"), "what is no secret is stored, as the documentation says");
}

#[test]
fn a_secret_belongs_to_its_principal_and_to_administrators() {
    let mut bearers = Vec::new();
    let server = Server::with(|config| {
        config.authentication = true;
        std::fs::create_dir_all(&config.data).unwrap();
        write_secrets(&config.call_secrets_path(), "\"shop/pay\" = \"hunter2\"\npay = \"hunter3\"\n");
        write_secrets(&config.secrets_path(), &format!("\"shop/mail\" = \"{SECRET}\"\nmail = \"{SECRET}\"\n"));
        for (principal, role) in [("shop", Role::Write), ("bank", Role::Write), ("ops", Role::Admin)] {
            let token = Keys::change(&config.keys_path(), |keys| keys.add(principal, principal, role)).unwrap();
            bearers.push(format!("Bearer {}", token.reveal()));
        }
    });
    let receiver = Receiver::start();
    let refused = || (403, "forbidden".to_owned());
    for (who, own, common) in [(0, None, Some(refused())), (1, Some(refused()), Some(refused())), (2, None, None)] {
        let authorization = [("authorization", bearers[who].as_str())];
        for (secret, expect) in [("shop/pay", &own), ("pay", &common), ("none", &common)] {
            let body = json!({"url": receiver.url("/ok"), "headers": {"x-key": format!("${{secret:{secret}}}")}});
            let key = format!("{who}-{secret}");
            let answer = server.connect().post("/v1/calls", &key, &authorization, &body.to_string());
            let expect = match (secret, expect) {
                ("none", None) => (400, "invalid-request".to_owned()),
                (_, None) => (200, String::new()),
                (_, Some(refused)) => refused.clone(),
            };
            assert_eq!(code(&answer), expect, "{who} {secret}: {answer:?}");
        }
        for (secret, expect) in [("shop/mail", &own), ("mail", &common)] {
            let settings =
                json!({"topics": ["orders"], "url": receiver.url("/ok"), "secrets": [secret], "paused": true});
            let answer = put(&server, &format!("{who}-{secret}"), &authorization, &settings);
            assert_eq!(answer.code(), expect.clone().unwrap_or_default().1, "{who} {secret}: {answer:?}");
        }
    }
}

/// What was decided under a key stays its answer: settings are asked only about what is new.
#[test]
fn first_answers_go_before_settings() {
    let mut secrets = std::path::PathBuf::new();
    let mut server = Server::with(|config| {
        std::fs::create_dir_all(&config.data).unwrap();
        secrets = config.secrets_path();
        write_secrets(&secrets, &format!("mail = \"{SECRET}\"\n"));
    });
    let receiver = Receiver::start();
    let call = json!({"url": receiver.url("/ok"), "body": 1}).to_string();
    let made = server.post("/v1/calls", "paid", &call);
    assert_eq!(made.status, 200, "{made:?}");
    let settings = json!({"topics": ["orders"], "url": receiver.url("/ok"), "secrets": ["mail"]});
    let subscribed = put(&server, "subscribed", &[], &settings);
    assert_eq!(subscribed.status, 201, "{subscribed:?}");
    assert_eq!(server.connect().request("POST", "/v1/operations/barred/settle", &[], "").outcome(), "refused");

    std::fs::remove_file(&secrets).unwrap();
    server.restart_with(|config| config.calls.allow = Some(vec!["pay.example:443".to_owned()]));
    let again = server.post("/v1/calls", "paid", &call);
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &made.body), "{again:?}");
    let again = put(&server, "subscribed", &[], &settings);
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &subscribed.body), "{again:?}");
    let other = server.post("/v1/calls", "paid", &call.replace('1', "2"));
    assert_eq!(other.code(), "idempotency-key-reused", "{other:?}");
    assert_eq!(server.post("/v1/calls", "barred", &call).code(), "operation-barred");
    let before = server.position();
    assert_eq!(code(&server.post("/v1/calls", "new", &call)), (403, "destination-not-allowed".to_owned()));
    assert_eq!(code(&put(&server, "new", &[], &settings)), (403, "destination-not-allowed".to_owned()));
    assert_eq!(server.position(), before, "nothing was appended");
    assert_eq!(receiver.seen().len(), 1, "called once");
}

#[test]
fn a_call_carries_the_trace_of_its_request() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = [("traceparent", parent), ("tracestate", "a=1, b=2"), ("baggage", "user=ada")];
    let body = json!({"url": receiver.url("/ok")});
    let made = server.connect().post("/v1/calls", "k1", &context, &body.to_string());
    assert_eq!(made.status, 200, "{made:?}");
    let own = json!({"url": receiver.url("/ok"), "headers": {"traceparent": parent.replace("4bf9", "0000")}});
    assert_eq!(server.connect().post("/v1/calls", "k2", &context, &own.to_string()).status, 200);
    let without = [("tracestate", "a=1"), ("traceparent", "garbage")];
    assert_eq!(server.connect().post("/v1/calls", "k3", &without, &body.to_string()).status, 200);
    // The same request in another trace is the same request.
    assert_eq!(server.post("/v1/calls", "k1", &body.to_string()).header("idempotency-replayed"), Some("true"));
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(&seen[0].header("traceparent")[..35], &parent[..35]);
    assert_eq!((seen[0].header("tracestate"), seen[0].header("baggage")), ("a=1,b=2", "user=ada"));
    assert_eq!(&seen[1].header("traceparent")[3..7], "0000", "what a call says itself goes first");
    assert_eq!((seen[1].header("tracestate"), seen[1].header("baggage")), ("", "user=ada"));
    assert!(seen[2].header("traceparent").starts_with("00-") && seen[2].header("tracestate").is_empty(), "{seen:?}");
}

#[test]
fn a_saga_names_secrets_and_whoever_starts_it_does_not() {
    let mut data = std::path::PathBuf::new();
    let mut server = Server::with(|config| {
        std::fs::create_dir_all(&config.data).unwrap();
        write_secrets(&config.call_secrets_path(), "pay = \"hunter2\"\nother = \"hunter3\"\n");
        data.clone_from(&config.data);
    });
    let receiver = Receiver::start();
    let define = |name: &str, url: &str, header: &str| {
        let step = format!("steps: [{{ id: a, call: {{ url: \"{url}\", headers: {{ X-Token: \"{header}\" }} }} }}]\n");
        crate::sagas::define(&server, name, &step)
    };
    let made = define("pays", &receiver.url("/ok/${input.v}"), "${secret:pay}-${input.v}");
    assert_eq!(made.status, 201, "{made:?}");
    let unknown = define("none", &receiver.url("/ok"), "${secret:nobody}");
    assert_eq!(code(&unknown), (400, "invalid-request".to_owned()), "{unknown:?}");
    let anywhere = define("anywhere", "${input.v}/ok", "${secret:pay}");
    assert_eq!(code(&anywhere), (400, "invalid-request".to_owned()), "{anywhere:?}");
    let done = server.post("/v1/sagas/pays/runs", "k1", r#"{"input":{"v":"x"}}"#);
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(receiver.seen()[0].header("x-token"), "hunter2-x");
    let other = server.post("/v1/sagas/pays/runs", "k2", r#"{"input":{"v":"${secret:other}"}}"#);
    assert_eq!(code(&other), (409, "run-compensated".to_owned()), "{other:?}");
    assert_eq!(receiver.seen().len(), 1, "nothing was sent");
    server.stop();
    let data = data_of(&data);
    let has = |text: &str| data.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("${secret:pay}") && !has("hunter2"), "a secret is stored");
}
