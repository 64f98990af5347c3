//! The nodes of a cell, beside its log: what each last said of itself, and that no two have one name.
//!
//! Nothing in this table decides anything: who leads is in the log. It says where to find a node and when it was last heard of, by
//! the database's clock. A name is held by an advisory lock of the session, which ends with the process that has it, however
//! that ends.

use crate::connector::{Connector, LogOptions, until};
use crate::link::{Link, explain, get};
use crate::schema::Sql;
use crate::settings::Settings;
use crate::thread::Thread;
use log::LogError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use xxhash_rust::xxh3::xxh3_64;

/// How long a name is waited for: the database notices within this that the process is gone that had it.
const NAME_WAIT: Duration = Duration::from_secs(5);

/// How often it is asked for meanwhile.
const NAME_POLL: Duration = Duration::from_millis(100);

/// How long saying something may take.
const SAY_WAIT: Duration = Duration::from_secs(2);

/// The name goes with the session, and so with the connection: a host that lost its power closes none, and the database is to notice
/// that within [`NAME_WAIT`]. Where the connection is no TCP it takes these for 0.
const SESSION: &str = "SET synchronous_commit = off; SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; \
                       SET tcp_keepalives_count = 2; SET tcp_user_timeout = 4000";

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSaid {
    /// Its name.
    pub node: String,
    /// Where other nodes reach it.
    pub advertise: String,
    /// Where it is; empty if it does not say.
    pub region: String,
    /// What it does: `leader` or `follower`.
    pub role: String,
    /// The reign it knows of.
    pub epoch: u64,
    /// How far it has applied.
    pub index: u64,
}

/// A node as it was last heard of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSeen {
    /// What it said.
    pub said: NodeSaid,
    /// How long ago, by the database's clock, in milliseconds.
    pub ago_ms: u64,
}

/// The nodes of one log in PostgreSQL, and the name of one of them. Its calls wait, so they must not be made on a thread that
/// serves an asynchronous runtime.
pub struct NodeTable {
    thread: Arc<Thread>,
    connector: Connector,
    lock: i64,
    node: String,
    say: String,
    link: Option<Link>,
}

impl NodeTable {
    /// Takes a node's name in a log that is there, for as long as this lives.
    ///
    /// # Errors
    /// [`LogError::Foreign`] where another process has the name, or may not make the table; else as
    /// [`LogPostgres::open`](crate::LogPostgres::open).
    ///
    /// # Panics
    /// As [`LogPostgres::open`](crate::LogPostgres::open).
    pub fn open(settings: Settings, options: LogOptions, node: &str) -> Result<Self, LogError> {
        let thread = Thread::start().map_err(|error| LogError::io("starting the thread of the nodes", error))?;
        let connector = Connector::new(settings, LogOptions { prepares: false, ..options });
        let deadline = Instant::now() + connector.options.read_wait;
        let opened = thread.block_on(until(deadline, "opening the nodes", async || connector.open().await))?;
        let name = format!("{}/{}/{node}", connector.options.schema, connector.options.cell);
        let table = connector.sql.other_table("nodes");
        let say = format!(
            "WITH said AS (INSERT INTO {table} (cell, node, advertise, region, role, epoch, index) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (cell, node) DO UPDATE SET advertise = $3, region = $4, \
             role = $5, epoch = $6, index = $7, seen_at = clock_timestamp()) \
             SELECT node, advertise, region, role, epoch, index, \
             greatest(0, extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint \
             FROM {table} WHERE cell = $1 AND node <> $2 AND seen_at > clock_timestamp() - interval '1 day' ORDER BY node"
        );
        let lock = xxh3_64(name.as_bytes()).cast_signed();
        let mut nodes = Self { thread: Arc::clone(&thread), connector, lock, node: node.to_owned(), say, link: None };
        thread.block_on(nodes.take_name(opened.link, NAME_WAIT))?;
        Ok(nodes)
    }

    /// Says how this node is, and hears how the others are.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Foreign`]; the next call tries again.
    pub fn say(&mut self, said: &NodeSaid) -> Result<Vec<NodeSeen>, LogError> {
        let thread = Arc::clone(&self.thread);
        let told = thread.block_on(async { timeout(SAY_WAIT, self.tell(said)).await });
        let told = told.unwrap_or_else(|late| Err(LogError::io("telling the other nodes", late.into())));
        told.inspect_err(|_| self.link = None)
    }

    async fn tell(&mut self, said: &NodeSaid) -> Result<Vec<NodeSeen>, LogError> {
        if self.link.as_ref().is_none_or(|link| link.client.is_closed()) {
            self.link = None;
            let link = self.connector.connect_beside().await?;
            // The session that had it may not have ended yet.
            self.take_name(link, Duration::ZERO).await?;
        }
        let link = self.link.as_ref().expect("it was just made where there was none");
        let cell = self.connector.options.cell.as_str();
        let (epoch, index) = (signed(said.epoch), signed(said.index));
        let values: [(&(dyn ToSql + Sync), Type); 7] = [
            (&cell, Type::TEXT),
            (&said.node, Type::TEXT),
            (&said.advertise, Type::TEXT),
            (&said.region, Type::TEXT),
            (&said.role, Type::TEXT),
            (&epoch, Type::INT8),
            (&index, Type::INT8),
        ];
        let rows = link.client.query_typed(&self.say, &values).await;
        let rows = rows.map_err(|error| explain(&self.connector.settings, "telling the other nodes in", error))?;
        let mut all = vec![NodeSeen { said: said.clone(), ago_ms: 0 }];
        for row in &rows {
            let said = NodeSaid {
                node: get(row, 0)?,
                advertise: get(row, 1)?,
                region: get(row, 2)?,
                role: get(row, 3)?,
                epoch: get::<i64>(row, 4)?.cast_unsigned(),
                index: get::<i64>(row, 5)?.cast_unsigned(),
            };
            all.push(NodeSeen { said, ago_ms: get::<i64>(row, 6)?.cast_unsigned() });
        }
        all.sort_by(|a, b| a.said.node.cmp(&b.said.node));
        Ok(all)
    }

    async fn take_name(&mut self, link: Link, wait: Duration) -> Result<(), LogError> {
        let until = Instant::now() + wait;
        let failed = |error| explain(&self.connector.settings, "taking the name of a node in", error);
        let lock: [(&(dyn ToSql + Sync), Type); 1] = [(&self.lock, Type::INT8)];
        loop {
            let row = link.client.query_typed_one("SELECT pg_try_advisory_lock($1)", &lock).await.map_err(failed)?;
            if get(&row, 0)? {
                break;
            }
            if Instant::now() >= until {
                return Err(LogError::Foreign {
                    file: self.connector.settings.to_string(),
                    what: format!("another process is the node {} of this cell", self.node),
                    remedy: "give each node a name of its own with `node`, or stop the other one",
                });
            }
            sleep(NAME_POLL).await;
        }
        self.make_table(&link).await?;
        // What is said here is said again soon: it waits for no disk and no standby.
        link.client.batch_execute(SESSION).await.map_err(failed)?;
        self.link = Some(link);
        Ok(())
    }

    async fn make_table(&self, link: &Link) -> Result<(), LogError> {
        let failed = |error| explain(&self.connector.settings, "making the table of nodes in", error);
        let table = self.connector.sql.other_table("nodes");
        let there = format!("SELECT to_regclass('{table}') IS NOT NULL");
        let row = link.client.query_typed_one(&there, &[]).await.map_err(failed)?;
        if get(&row, 0)? {
            return Ok(());
        }
        let make = format!(
            "CREATE TABLE IF NOT EXISTS {table} (cell text NOT NULL, node text NOT NULL, advertise text NOT NULL, \
             region text NOT NULL, role text NOT NULL, epoch bigint NOT NULL, index bigint NOT NULL, \
             seen_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (cell, node));"
        );
        link.client.batch_execute(&Sql::in_transaction(&make)).await.map_err(failed)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for NodeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeTable").field("node", &self.node).finish_non_exhaustive()
    }
}
