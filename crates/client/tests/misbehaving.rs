//! The client against a server that drops replies, hangs, refuses and is not there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tertium_client::{
    Answer, Client, ClientBuilder, Consistency, NewTransfer, Outcome, ReadError, RetryOptions, Transfer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Clone, Debug)]
enum Deed {
    /// Takes the whole request and closes the connection.
    DropReply,
    /// Takes the whole request and stays silent.
    Hang,
    /// Answers with a status, headers and a body.
    Say(u16, Vec<(&'static str, String)>, String),
}

/// One request as it came in.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    head: String,
    connection: usize,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Does the deeds in order, one for each request, and closes every connection after them.
    async fn new(deeds: Vec<Deed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let deeds = Arc::new(Mutex::new(deeds.into_iter()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&deeds), Arc::clone(&log)));
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests' keys, none left out.
    fn keys(&self) -> Vec<String> {
        self.seen().iter().filter_map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    deeds: Arc<Mutex<std::vec::IntoIter<Deed>>>,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    while let Some(head) = read_request(&mut stream).await {
        let line = head.lines().next().unwrap().to_owned();
        log.lock().unwrap().push(Seen { line, head, connection });
        let deed = deeds.lock().unwrap().next();
        match deed {
            None | Some(Deed::DropReply) => return,
            Some(Deed::Hang) => std::future::pending().await,
            Some(Deed::Say(status, headers, body)) => {
                let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                text.push_str("\r\n");
                text.push_str(&body);
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Head of the next request, its body read and thrown away.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

const TRANSFER: &str = r#"{"id":"t1","from":"a","to":"b","unit":"GBP","amount":5,"state":"posted","memo":null,"metadata":{},
    "created_at":"2026-01-01T00:00:00.000000Z","balance_after":{"from":-5,"to":5}}"#;

fn committed() -> Deed {
    let headers =
        [("tertium-outcome", "committed"), ("tertium-position", "main:1:7"), ("tertium-session", "1.main:1:7")];
    Deed::Say(201, headers.map(|(name, value)| (name, value.to_owned())).to_vec(), TRANSFER.to_owned())
}

fn problem(status: u16, outcome: &str, code: &str, more: &[(&'static str, &str)]) -> Deed {
    let mut headers = vec![("tertium-outcome", outcome.to_owned())];
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let body =
        format!(r#"{{"type":"/errors/{code}","title":"T","status":{status},"code":"{code}","outcome":"{outcome}"}}"#);
    Deed::Say(status, headers, body)
}

fn settled(outcome: &str, status: u16, body: &str) -> Deed {
    let body = format!(r#"{{"key":"k","outcome":"{outcome}","status":{status},"body":{body},"position":"main:1:9"}}"#);
    Deed::Say(200, vec![("tertium-outcome", outcome.to_owned())], body)
}

/// A client that tries again at once, so that only what a test is about takes time.
fn eager(url: &str) -> ClientBuilder {
    let base = Duration::from_micros(10);
    Client::builder(url).deadline(Duration::from_secs(20)).retry(RetryOptions {
        backoff_base: base,
        backoff_cap: base,
        ..RetryOptions::default()
    })
}

async fn send(client: &Client) -> Answer<Transfer> {
    client.transfer(&NewTransfer::new("a", "b", 5)).await
}

/// Runs one write against the deeds and says how it ended, what was sent, and that there was one key.
async fn check(deeds: Vec<Deed>, expect_outcome: &str, expect_lines: &[&str]) {
    // What else the answer says is no matter here.
    let _ = answered(deeds, expect_outcome, expect_lines).await;
}

async fn answered(deeds: Vec<Deed>, expect_outcome: &str, expect_lines: &[&str]) -> Answer<Transfer> {
    let server = Server::new(deeds).await;
    let answer = send(&eager(&server.url).build().unwrap()).await;
    let outcome = match &answer.outcome {
        Outcome::Committed(transfer) => format!("committed {}", transfer.id),
        Outcome::Refused(problem) => format!("refused {}", problem.code),
        Outcome::Uncertain(_) => "uncertain".to_owned(),
    };
    assert_eq!(outcome, expect_outcome);
    let lines: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.line.replace(&answer.key, "KEY").trim_end_matches(" HTTP/1.1").to_owned())
        .collect();
    assert_eq!(lines, expect_lines);
    assert!(server.keys().iter().all(|key| *key == answer.key), "a second key: {:?}", server.keys());
    answer
}

const POST: &str = "POST /v1/transfers";
const SETTLE: &str = "POST /v1/operations/KEY/settle";

#[tokio::test]
async fn a_reply_lost_after_the_commit_is_asked_for_again_under_the_same_key() {
    let mut replayed = committed();
    if let Deed::Say(_, headers, _) = &mut replayed {
        headers.push(("idempotency-replayed", "true".to_owned()));
    }
    let answer = answered(vec![Deed::DropReply, replayed], "committed t1", &[POST, POST]).await;
    assert!(answer.replayed && !answer.settled);
    assert_eq!((answer.attempts, answer.position.as_deref()), (2, Some("main:1:7")));
}

#[tokio::test]
async fn a_refusal_of_the_second_attempt_does_not_speak_for_the_first() {
    // The first attempt may have committed: `unauthenticated` for the second does not undo that.
    let answer = answered(
        vec![Deed::DropReply, problem(401, "refused", "unauthenticated", &[]), settled("committed", 201, TRANSFER)],
        "committed t1",
        &[POST, POST, SETTLE],
    )
    .await;
    assert!(answer.settled);
}

#[tokio::test]
async fn a_remembered_refusal_speaks_for_all_attempts() {
    let refused = problem(422, "refused", "insufficient-funds", &[]);
    check(vec![Deed::DropReply, refused], "refused insufficient-funds", &[POST, POST]).await;
}

#[tokio::test]
async fn a_refusal_that_stands_is_not_tried_again() {
    check(vec![problem(401, "refused", "unauthenticated", &[])], "refused unauthenticated", &[POST]).await;
    check(vec![problem(404, "refused", "account-not-found", &[])], "refused account-not-found", &[POST]).await;
    check(vec![problem(504, "refused", "deadline-exceeded", &[])], "refused deadline-exceeded", &[POST]).await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let begun = Instant::now();
    let busy = problem(503, "refused", "overloaded", &[("retry-after", "1")]);
    check(vec![busy, committed()], "committed t1", &[POST, POST]).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_retry_after_past_the_deadline_is_not_waited_for() {
    let busy = problem(503, "refused", "overloaded", &[("retry-after", "3600")]);
    let begun = Instant::now();
    check(vec![busy], "refused overloaded", &[POST]).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn after_three_retries_it_settles() {
    let lost = || Deed::DropReply;
    let barred =
        r#"{"type":"/errors/operation-barred","title":"T","status":409,"code":"operation-barred","outcome":"refused"}"#;
    let answer = answered(
        vec![lost(), lost(), lost(), lost(), settled("refused", 409, barred)],
        "refused operation-barred",
        &[POST, POST, POST, POST, SETTLE],
    )
    .await;
    assert!(answer.settled);
    assert_eq!(answer.attempts, 4);
}

#[tokio::test]
async fn settling_is_tried_again_too() {
    let committed = settled("committed", 201, TRANSFER);
    let lost = || Deed::DropReply;
    check(
        vec![lost(), lost(), lost(), lost(), lost(), committed],
        "committed t1",
        &[POST, POST, POST, POST, SETTLE, SETTLE],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_is_settled_when_time_runs_out() {
    let server = Server::new(vec![Deed::Hang, settled("committed", 201, TRANSFER)]).await;
    let client = eager(&server.url).build().unwrap();
    let transfer = NewTransfer::new("a", "b", 5);
    let answer = client.transfer(&transfer).key("k").deadline(Duration::from_millis(200)).await;
    assert!(matches!(&answer.outcome, Outcome::Committed(transfer) if transfer.id == "t1"), "{answer:?}");
    assert!(answer.settled);
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["POST /v1/transfers HTTP/1.1", "POST /v1/operations/k/settle HTTP/1.1"]);
}

#[tokio::test]
async fn what_cannot_be_settled_in_time_is_uncertain() {
    let server = Server::new(vec![Deed::Hang, Deed::Hang, Deed::Hang]).await;
    let client = eager(&server.url).settle_within(Duration::from_millis(100)).build().unwrap();
    let transfer = NewTransfer::new("a", "b", 5);
    let answer = client.transfer(&transfer).key("order/17").deadline(Duration::from_millis(100)).await;
    let Outcome::Uncertain(uncertain) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!((uncertain.operation.as_str(), uncertain.sent), ("/v1/operations/order%2F17", true));
    assert_eq!(server.seen().len(), 2);

    let never = client.transfer(&transfer).deadline(Duration::from_millis(100)).settle_within(Duration::ZERO).await;
    assert!(matches!(never.outcome, Outcome::Uncertain(_)));
    assert_eq!(server.seen().len(), 3, "it was told not to settle");
}

#[tokio::test]
async fn a_refused_connection_is_certainly_nothing_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let answer = send(&eager(&url).build().unwrap()).await;
    let Outcome::Refused(problem) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!((problem.code.as_str(), answer.attempts), ("unreachable", 4));
}

/// Somebody may have sent it before under the same key: only the server could say.
#[tokio::test]
async fn a_refused_connection_says_nothing_of_a_key_that_may_have_been_used_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = eager(&url).build().unwrap();
    let answer = client.transfer(&NewTransfer::new("a", "b", 5)).key("salary/1").await;
    let Outcome::Uncertain(uncertain) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!((uncertain.operation.as_str(), uncertain.sent), ("/v1/operations/salary%2F1", false));
    let settled = client.settle("salary/1").deadline(Duration::from_secs(1)).await;
    assert!(matches!(settled, Err(ReadError::Lost(_))), "{settled:?}");
    // A server that turned it away had looked for the key before.
    let busy = Server::new(vec![problem(503, "refused", "overloaded", &[("retry-after", "3600")])]).await;
    let answer = eager(&busy.url).build().unwrap().transfer(&NewTransfer::new("a", "b", 5)).key("salary/1").await;
    assert!(matches!(&answer.outcome, Outcome::Refused(problem) if problem.code == "overloaded"), "{answer:?}");
}

#[tokio::test]
async fn an_empty_budget_ends_the_retries() {
    let busy = || problem(503, "refused", "overloaded", &[]);
    let server = Server::new((0..40).map(|_| busy()).collect()).await;
    let base = Duration::from_micros(10);
    let retry = RetryOptions { backoff_base: base, budget_per_second_min: 0, ..RetryOptions::default() };
    let client = Client::builder(&server.url).retry(retry).build().unwrap();
    for _ in 0..20 {
        assert!(matches!(send(&client).await.outcome, Outcome::Refused(_)));
    }
    assert_eq!(server.seen().len(), 22, "20 first attempts allow 2 retries");
}

#[tokio::test]
async fn each_attempt_says_what_remains_of_the_time() {
    let busy = problem(503, "refused", "overloaded", &[("retry-after", "1")]);
    let server = Server::new(vec![busy, committed()]).await;
    let client = eager(&server.url).build().unwrap();
    let answer = client.transfer(&NewTransfer::new("a", "b", 5)).deadline(Duration::from_secs(5)).await;
    assert!(matches!(answer.outcome, Outcome::Committed(_)));
    let remaining: Vec<u64> = server
        .seen()
        .iter()
        .map(|seen| seen.header("x-request-deadline").unwrap().strip_suffix("ms").unwrap().parse().unwrap())
        .collect();
    assert!(remaining[0] <= 5_000 && remaining[0] > 3_000, "{remaining:?}");
    assert!(remaining[1] <= remaining[0] - 1_000, "{remaining:?}");
}

#[tokio::test]
async fn the_session_is_kept_and_connections_are_too() {
    let server = Server::new(vec![committed(), committed(), committed()]).await;
    let client = eager(&server.url).build().unwrap();
    for client in [&client, &client.clone(), &client] {
        assert!(matches!(send(client).await.outcome, Outcome::Committed(_)));
    }
    let seen = server.seen();
    let sessions: Vec<_> = seen.iter().map(|seen| seen.header("tertium-session")).collect();
    assert_eq!(sessions, [None, Some("1.main:1:7"), Some("1.main:1:7")]);
    assert!(seen.iter().all(|seen| seen.connection == 0), "{seen:?}");
    let keys = server.keys();
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "each operation has a key of its own");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_here() {
    let server = Server::new(vec![]).await;
    let client = eager(&server.url).build().unwrap();
    let answer = client.transfer(&NewTransfer::new("a", "b", 5)).key("two words").await;
    assert!(matches!(answer.outcome, Outcome::Refused(problem) if problem.code == "idempotency-key-invalid"));
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn reads_are_tried_again_and_say_how_fresh_they_are() {
    let account = r#"{"id":"a/b","unit":"GBP","floor":null,"balance":"-9007199254740993","held":0,
        "available":"-9007199254740993","metadata":{},"created_at":"2026-01-01T00:00:00.000000Z","version":2}"#;
    let headers = vec![("tertium-position", "main:1:7".to_owned()), ("tertium-staleness-ms", "3".to_owned())];
    let unavailable = problem(503, "refused", "consistency-unavailable", &[]);
    let server = Server::new(vec![Deed::DropReply, unavailable, Deed::Say(200, headers, account.to_owned())]).await;
    let client = eager(&server.url).build().unwrap();
    let seen = client.account("a/b").consistency(Consistency::BoundedMs(50)).await.unwrap();
    assert_eq!(seen.value.balance, -9_007_199_254_740_993);
    assert_eq!((seen.position.as_deref(), seen.staleness_ms), (Some("main:1:7"), Some(3)));
    let request = &server.seen()[2];
    assert_eq!(request.line, "GET /v1/accounts/a%2Fb HTTP/1.1");
    assert_eq!(request.header("tertium-consistency"), Some("bounded=50"));
}

#[tokio::test]
async fn history_follows_the_cursor_to_its_end() {
    let movement = |id: &str| {
        format!(
            r#"{{"id":"{id}","from":"a","to":"b","amount":5,"state":"posted","event":"posted","at":"2026-01-01T00:00:00.000000Z","balance_after":-5,
            "created_at":"2026-01-01T00:00:00.000000Z","unit":"GBP"}}"#
        )
    };
    let page = |items: &[&str], next: &str| {
        let items: Vec<_> = items.iter().map(|id| movement(id)).collect();
        Deed::Say(200, vec![], format!(r#"{{"items":[{}],"next":{next}}}"#, items.join(",")))
    };
    let not_found = problem(404, "refused", "account-not-found", &[]);
    let server = Server::new(vec![page(&["t3", "t2"], r#""c/1""#), page(&["t1"], "null"), not_found]).await;
    let client = eager(&server.url).build().unwrap();
    let mut history = client.history("a").from("2026-01-01T00:00:00Z");
    let mut ids = Vec::new();
    while let Some(movement) = history.next().await.unwrap() {
        ids.push(movement.id);
    }
    assert_eq!(ids, ["t3", "t2", "t1"]);
    assert!(
        server.seen()[1].line.contains("&from=2026-01-01T00%3A00%3A00Z&cursor=c%2F1 "),
        "{:?}",
        server.seen()[1].line
    );
    let missing = client.history("nobody").next().await;
    assert!(matches!(missing, Err(ReadError::Refused(problem)) if problem.code == "account-not-found"));
}
