//! The layer around one handler that does what it is told, over whichever database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::StatusCode;
use http_body_util::BodyExt;
use inbox_sql::layer::{Database, InboxLayer, StepAnswer, Tx};
use tokio::sync::Notify;
use tower::ServiceExt;

use super::{Command, Hand, Sessions};

/// A database that the layer can use too.
pub(crate) trait LayerHand: Hand + Sync {
    type Database: Database;

    fn database(&self) -> Self::Database;

    /// Whether a statement did what it says.
    fn execute(tx: &Tx<<Self::Database as Database>::Open>, statement: String) -> impl Future<Output = bool> + Send;
}

/// How often the handler ran, and what it waits for.
#[derive(Clone, Default)]
struct Handler {
    runs: Arc<AtomicU32>,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

/// Plays one script.
pub(crate) fn check<H: LayerHand>(hand: H, script: &str) {
    runtime().block_on(play(hand, script));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Plays all scripts, each with a database of its own.
pub(crate) fn all<H: LayerHand>(fresh: &dyn Fn() -> H) {
    let more = if H::ONE_WRITER { &[] } else { SCRIPTS_OF_MANY_WRITERS };
    for (name, script, effects) in SCRIPTS.iter().chain(more) {
        println!("{name}");
        let hand = fresh();
        check(hand.clone(), script);
        assert_eq!(Sessions::new(hand).tell("reader", Command::Effects), *effects, "{name}");
    }
    println!("rivals_in_flight");
    runtime().block_on(rivals_in_flight(fresh()));
    println!("a_caller_who_hangs_up_does_not_stop_the_call");
    runtime().block_on(a_caller_who_hangs_up(fresh()));
}

/// A line is `headers | body => answer`; a probe is `probe key => answer`. The handler's body is `statement-name status`.
const SCRIPTS: &[(&str, &str, &str)] = &[
    (
        "an_answer_comes_again_byte_for_byte",
        "idempotency-key: k | pay 201 => 201 run 1
         idempotency-key: k | pay 201 => 201 run 1, replayed
         idempotency-key: \"k\" | pay 201 => 201 run 1, replayed
         idempotency-key: k | pay 202 => 422 idempotency-key-reused
         idempotency-key: l | ship 204 => 204 run 2",
        "pay ship",
    ),
    (
        "a_refusal_is_kept_and_what_was_written_is_not",
        "idempotency-key: k | pay 409 => 409 run 1
         idempotency-key: k | pay 409 => 409 run 1, replayed
         idempotency-key: l | broken 422 => 422 run 2
         idempotency-key: l | broken 422 => 422 run 2, replayed",
        "",
    ),
    (
        "a_failure_leaves_nothing_and_the_key_is_new",
        "idempotency-key: k | pay 500 => 500 run 1
         idempotency-key: k | pay 503 => 503 run 2
         idempotency-key: k | pay 425 => 425 run 3
         idempotency-key: k | panic 200 => 500 failed
         idempotency-key: k | rollback 200 => 500 failed
         idempotency-key: k | large 200 => 500 failed
         idempotency-key: k, x-request-deadline: 300ms | hang 200 => 504 deadline-exceeded
         idempotency-key: k | leak 200 => 500 failed
         idempotency-key: k | pay 200 => 200 run 9",
        "pay",
    ),
    (
        "what_cannot_be_understood_is_refused_unread",
        " | pay 200 => 400 idempotency-key-missing
         idempotency-key: k, tertium-fence: lease | pay 200 => 400 header-invalid
         idempotency-key: k, x-request-deadline: 0ms | pay 200 => 504 deadline-exceeded",
        "",
    ),
    (
        "compensations_and_probes",
        "idempotency-key: c, tertium-compensates: k | undo 200 => 204
         idempotency-key: k | pay 200 => 409 operation-barred
         idempotency-key: c, tertium-compensates: k | undo 200 => 204, replayed
         idempotency-key: l | pay 201 => 201 run 1
         idempotency-key: d, tertium-compensates: l | undo 200 => 200 run 2 after run 1
         idempotency-key: d, tertium-compensates: l | undo 200 => 200 run 2 after run 1, replayed
         idempotency-key: m | pay 409 => 409 run 3
         idempotency-key: e, tertium-compensates: m | undo 200 => 204
         idempotency-key: f, tertium-compensates: o, tertium-compensates-outcome: committed | undo 200 => 200 run 4
         idempotency-key: f, tertium-compensates: o, tertium-compensates-outcome: committed | undo 200 => 200 run 4, replayed
         idempotency-key: o | pay 200 => 409 operation-barred
         idempotency-key: g, tertium-compensates: m, tertium-compensates-outcome: committed | undo 200 => 204
         idempotency-key: h, tertium-compensates: p, tertium-compensates-outcome: resolved | undo 200 => 409 step-unknown
         idempotency-key: h, tertium-compensates: p, tertium-compensates-outcome: resolved | undo 200 => 409 step-unknown, replayed
         idempotency-key: p | pay 200 => 409 operation-barred
         idempotency-key: q | pay 200 => 200 run 5
         idempotency-key: i, tertium-compensates: q, tertium-compensates-outcome: resolved | undo 200 => 200 run 6 after run 5
         idempotency-key: j, tertium-compensates: m, tertium-compensates-outcome: resolved | undo 200 => 204
         probe l => 201 run 1, replayed
         probe m => 409 run 3, replayed
         probe n%2F1 => 409 operation-barred
         idempotency-key: n/1 | pay 200 => 409 operation-barred",
        "pay pay undo undo undo",
    ),
    (
        "fences",
        "idempotency-key: k, tertium-fence: lease;token=7 | pay 200 => 200 run 1
         idempotency-key: l, tertium-fence: lease;token=6 | pay 200 => 409 token-stale
         idempotency-key: l, tertium-fence: lease;token=9223372036854775808 | pay 200 => 400 header-invalid
         idempotency-key: l, tertium-fence: lease;token=8 | ship 200 => 200 run 2",
        "pay ship",
    ),
    (
        "events",
        "tertium-subscription: s, tertium-partition-key: p, tertium-offset: 3 | one 204 => 204 run 1
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 3 | one 204 => 204, replayed
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 5 | two 500 => 500 run 2
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 5 | two 422 => 422 run 3
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 5 | rollback 200 => 500 failed
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 5 | two 200 => 200 run 5
         tertium-subscription: s, tertium-partition-key: p, tertium-offset: 4 | late 200 => 204, replayed",
        "one two",
    ),
];

/// Where a failed statement breaks its transaction, a handler that looks away does not commit half of it. (In SQLite the
/// statement alone is undone, and a commit that fails leaves the transaction as it was.)
const SCRIPTS_OF_MANY_WRITERS: &[(&str, &str, &str)] = &[(
    "a_broken_transaction_is_not_committed",
    "idempotency-key: k | broken 200 => 500 failed
     idempotency-key: k | commit 200 => 500 failed
     tertium-subscription: s, tertium-partition-key: p, tertium-offset: 5 | broken 200 => 500 failed
     idempotency-key: k | pay 200 => 200 run 4",
    "pay",
)];

async fn play<H: LayerHand>(hand: H, script: &str) {
    let app = app(&hand, Handler::default());
    for line in script.lines().map(str::trim) {
        let (told, expected) = line.split_once("=>").unwrap();
        let reply = match told.trim().strip_prefix("probe ") {
            Some(key) => send(&app, Request::get(format!("/calls/{key}")).body(Body::empty()).unwrap()).await,
            None => send(&app, request(told)).await,
        };
        assert_eq!(reply, expected.trim(), "{line}");
    }
}

/// `headers | body`
fn request(told: &str) -> Request {
    let (headers, body) = told.split_once('|').unwrap();
    let mut request = Request::post("/do");
    for header in headers.split(", ").filter(|header| !header.trim().is_empty()) {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name.trim(), value.trim());
    }
    request.body(Body::from(body.trim().to_owned())).unwrap()
}

async fn send(app: &Router, request: Request) -> String {
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    // Of a problem, its code is enough.
    let body = body.split_once("\"code\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or(&body);
    let replayed = if parts.headers.contains_key("idempotency-replayed") { ", replayed" } else { "" };
    format!("{} {body}", parts.status.as_u16()).trim_end().to_owned() + replayed
}

fn app<H: LayerHand>(hand: &H, handler: Handler) -> Router {
    let layer = InboxLayer::new(hand.database(), |_| "scope".to_owned());
    Router::new()
        .route("/do", post(handle::<H>).layer(layer.clone()))
        .route("/calls/{key}", layer.probes())
        .with_state(handler)
}

async fn handle<H: LayerHand>(
    State(handler): State<Handler>,
    tx: Tx<<H::Database as Database>::Open>,
    step: Option<Extension<StepAnswer>>,
    body: String,
) -> Response {
    let run = handler.runs.fetch_add(1, Ordering::Relaxed) + 1;
    let (what, status) = body.split_once(' ').unwrap();
    let effect = format!("INSERT INTO effects VALUES ('{what}')");
    assert!(H::execute(&tx, effect).await);
    match what {
        "panic" => panic!("as told"),
        "broken" => assert!(!H::execute(&tx, "INSERT INTO nowhere VALUES (1)".into()).await),
        "commit" | "rollback" => drop(H::execute(&tx, what.into()).await),
        "hang" => std::future::pending().await,
        "leak" => {
            let guard = tx.lock().await.unwrap_or_else(|_| panic!("the handler is still here"));
            tokio::spawn(async move {
                let _guard = guard;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            });
        }
        "wait" => {
            handler.entered.notify_one();
            handler.go_on.notified().await;
        }
        "large" => return vec![0; inbox_sql::layer::ANSWER_BYTES_MAX + 1].into_response(),
        _ => {}
    }
    let after = step.map_or(String::new(), |Extension(StepAnswer(step))| {
        format!(" after {}", String::from_utf8_lossy(step.body()))
    });
    (StatusCode::from_u16(status.parse().unwrap()).unwrap(), format!("run {run}{after}")).into_response()
}

/// One is at work: a rival with little time is told so, one with more has the answer.
async fn rivals_in_flight<H: LayerHand>(hand: H) {
    let handler = Handler::default();
    let app = app(&hand, handler.clone());
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, request("idempotency-key: k | wait 200")).await }
    });
    handler.entered.notified().await;
    let hasty = "idempotency-key: k, x-request-deadline: 100ms | wait 200";
    assert_eq!(send(&app, request(hasty)).await, "425 in-flight");
    let patient = tokio::spawn({
        let app = app.clone();
        async move { send(&app, request("idempotency-key: k | wait 200")).await }
    });
    handler.go_on.notify_one();
    assert_eq!(first.await.unwrap(), "200 run 1");
    assert_eq!(patient.await.unwrap(), "200 run 1, replayed");
}

async fn a_caller_who_hangs_up<H: LayerHand>(hand: H) {
    let handler = Handler::default();
    let app = app(&hand, handler.clone());
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, request("idempotency-key: k | wait 200")).await }
    });
    handler.entered.notified().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    handler.go_on.notify_one();
    assert_eq!(send(&app, request("idempotency-key: k | wait 200")).await, "200 run 1, replayed");
}
