//! A service that does everything twice over: as it is done before anybody has thought of accidents, and as it is done with
//! the inbox.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::shop::service::{CallTx, in_call, inbox, serve, unguarded};
use crate::shop::store::Store;
use crate::shop::trade::{DeedError, Reply};

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS levels (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS orders (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS pages (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;";

/// What its handlers share.
struct Desk {
    store: Arc<Store>,
    /// Whether whoever takes an order stops there, until the process is killed.
    holds: bool,
    held: AtomicU64,
}

type Shared = State<Arc<Desk>>;

/// Serves until the process is ended. With `holds`, whoever takes an order goes no further.
///
/// # Errors
/// Where the database can not be opened, or the address is not free.
pub fn run(listen: SocketAddr, data: &Path, holds: bool) -> io::Result<()> {
    std::fs::create_dir_all(data)?;
    let store = Store::open(&data.join("desk.db"), TABLES).map_err(io::Error::other)?;
    let (inbox, plain) = (inbox(&store), store.clone());
    let desk = Arc::new(Desk { store, holds, held: AtomicU64::new(0) });
    let router = Router::new()
        .route("/levels/{name}", look("SELECT value FROM levels WHERE name = ?1"))
        .route("/levels/set", post(move |body: Bytes| unguarded(set, plain.clone(), body)))
        .route("/levels/take", post(|tx: CallTx, body: Bytes| in_call(take, tx, body)).layer(inbox.clone()))
        .route("/orders/{name}", look("SELECT value FROM orders WHERE name = ?1"))
        .route("/orders/plain", post(order_plainly))
        .route("/orders", post(order_in_call).layer(inbox.clone()))
        .route("/pages/{name}", look("SELECT value FROM pages WHERE name = ?1"))
        .route("/pages", post(|tx: CallTx, body: Bytes| in_call(write, tx, body)).layer(inbox))
        .route("/held", get(|State(desk): Shared| async move { Json(desk.held.load(Ordering::SeqCst)) }))
        .with_state(desk);
    serve(router, listen)
}

/// A value, with a status of 404 where there is none.
fn look(query: &'static str) -> MethodRouter<Arc<Desk>> {
    get(move |State(desk): Shared, Segment(name): Segment<String>| async move {
        let found = desk
            .blocking(move |connection| connection.query_row(query, (name,), |row| row.get(0).map(of_sql)).optional());
        match found.await {
            Ok(Some(value)) => Json(value).into_response(),
            Ok(None) => StatusCode::NOT_FOUND.into_response(),
            Err(status) => status.into_response(),
        }
    })
}

fn of_sql(value: rusqlite::types::Value) -> Value {
    match value {
        rusqlite::types::Value::Integer(number) => number.into(),
        rusqlite::types::Value::Text(text) => text.into(),
        _ => Value::Null,
    }
}

/// A level is whatever the last one to write says.
fn set(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let (name, value) = (text(request, "name")?, number(request, "value")?);
    tx.execute("INSERT INTO levels VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", (name, value))?;
    done()
}

/// Less by so many than it is now.
fn take(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let (name, by) = (text(request, "name")?, number(request, "by")?);
    tx.execute("UPDATE levels SET value = value - ?2 WHERE name = ?1", (name, by))?;
    done()
}

/// A page is what was written last.
fn write(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let (name, value) = (text(request, "name")?, text(request, "value")?);
    tx.execute("INSERT INTO pages VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", (name, value))?;
    done()
}

fn begin_order(connection: &Connection, name: &str) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO orders VALUES (?1, 'pending')", (name,))
}

fn end_order(connection: &Connection, name: &str) -> rusqlite::Result<usize> {
    connection.execute("UPDATE orders SET value = 'done' WHERE name = ?1", (name,))
}

/// The order is noted, what it needs is done, and the order is noted as done.
async fn order_plainly(State(desk): Shared, name: String) -> Result<StatusCode, StatusCode> {
    let again = name.clone();
    desk.blocking(move |connection| begin_order(connection, &name)).await?;
    desk.hold().await;
    desk.blocking(move |connection| end_order(connection, &again)).await?;
    Ok(StatusCode::CREATED)
}

/// The same in the transaction of its call.
async fn order_in_call(State(desk): Shared, tx: CallTx, Json(request): Json<Value>) -> Result<StatusCode, StatusCode> {
    let name = text(&request, "name").map_err(|_| StatusCode::BAD_REQUEST)?.to_owned();
    let again = name.clone();
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    tx.run(move |open| begin_order(open, &name)).await.map_err(failed)?.map_err(|_| StatusCode::CONFLICT)?;
    desk.hold().await;
    let ended = tx.run(move |open| end_order(open, &again)).await.map_err(failed)?;
    ended.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(StatusCode::CREATED)
}

impl Desk {
    /// Goes no further, where that is wanted.
    async fn hold(&self) {
        if self.holds {
            self.held.fetch_add(1, Ordering::SeqCst);
            pending::<()>().await;
        }
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StatusCode> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&*store.lend()?)).await;
        done.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.map_err(|_| StatusCode::CONFLICT)
    }
}

fn done() -> Result<Reply, DeedError> {
    Ok(Reply { status: 201, body: json!({}) })
}

fn text<'v>(request: &'v Value, field: &'static str) -> Result<&'v str, DeedError> {
    request[field].as_str().ok_or(DeedError::Field(field))
}

fn number(request: &Value, field: &'static str) -> Result<i64, DeedError> {
    request[field].as_i64().ok_or(DeedError::Field(field))
}
