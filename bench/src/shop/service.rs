//! A service as a process: its deeds over HTTP, each in one transaction with its call's key.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use inbox_sql::layer::{InboxLayer, Sqlite, SqliteOpen, Tx};
use serde_json::{Value, json};

use super::store::{Lent, Store};
use super::trade::{Deed, DeedError, Reply, Trade};

/// The inbox's layer over a service's own SQLite.
pub type Inbox = InboxLayer<Sqlite<Lent>>;

/// The transaction of a call.
pub type CallTx = Tx<SqliteOpen<Lent>>;

/// Serves one of the four until the process is ended. Without the inbox, a deed is done as often as it is asked for: that
/// is there to show what the inbox is for.
///
/// # Errors
/// Where the database can not be opened, or the address is not free.
pub fn run(trade: Trade, listen: SocketAddr, data: &Path, with_inbox: bool) -> io::Result<()> {
    let store = Store::open(&database(data, trade)?, trade.tables()).map_err(io::Error::other)?;
    let mut router = Router::new();
    if with_inbox {
        let inbox = inbox(&store);
        router = router.route("/calls/{key}", inbox.probes());
        for (path, deed) in trade.deeds() {
            let handle = move |tx: CallTx, body: Bytes| in_call(*deed, tx, body);
            router = router.route(path, post(handle).layer(inbox.clone()));
        }
    } else {
        for (path, deed) in trade.deeds() {
            let store = store.clone();
            let handle = move |body: Bytes| unguarded(*deed, store, body);
            router = router.route(path, post(handle));
        }
    }
    serve(router, listen)
}

/// Where a service keeps its database.
///
/// # Errors
/// Where its directory can not be made.
pub fn database(data: &Path, trade: Trade) -> io::Result<PathBuf> {
    std::fs::create_dir_all(data)?;
    Ok(data.join(format!("{}.db", trade.as_str())))
}

/// The inbox over this store. All its callers are one principal: there is one cell.
pub fn inbox(store: &Arc<Store>) -> Inbox {
    let store = store.clone();
    InboxLayer::new(Sqlite::new(move || Ok(store.lend()?)), |_: &Parts| "cell".to_owned())
}

/// Serves until the process is ended.
///
/// # Errors
/// Where the address is not free.
pub fn serve(router: Router, listen: SocketAddr) -> io::Result<()> {
    let router = router.route("/readyz", get(|| async { "ready" }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        // Where it fails answers only come later.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).await
    })
}

/// A deed in its call's transaction.
pub async fn in_call(deed: Deed, tx: CallTx, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return malformed("no JSON") };
    match tx.run(move |open| deed(open, &request)).await {
        Ok(done) => respond(done),
        Err(ended) => failed(&ended),
    }
}

/// A deed in a transaction of its own, whoever asks for it and however often.
///
/// A failure of the database is 500, which says nothing.
pub async fn unguarded(deed: Deed, store: Arc<Store>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return malformed("no JSON") };
    match tokio::task::spawn_blocking(move || alone(deed, &store, &request)).await {
        Ok(done) => respond(done),
        Err(panicked) => failed(&panicked),
    }
}

fn alone(deed: Deed, store: &Arc<Store>, request: &Value) -> Result<Reply, DeedError> {
    let connection = store.lend()?;
    // An error leaves the transaction open, and such a connection is closed instead of lent again.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let reply = deed(&connection, request)?;
    connection.execute_batch(if reply.status < 300 { "COMMIT" } else { "ROLLBACK" })?;
    Ok(reply)
}

fn respond(done: Result<Reply, DeedError>) -> Response {
    match done {
        Ok(reply) => {
            let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, axum::Json(reply.body)).into_response()
        }
        Err(DeedError::Field(field)) => malformed(field),
        Err(error) => failed(&error),
    }
}

fn malformed(what: &str) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({ "code": "malformed", "about": what }))).into_response()
}

fn failed(error: &dyn std::error::Error) -> Response {
    // Standard error is the service's log.
    eprintln!("{error}: {:?}", error.source());
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
