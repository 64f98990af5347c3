//! Checkpoints beside the log, in chunks, for a node that has fallen behind what was trimmed.
//!
//! A checkpoint is put in one transaction, its row after its chunks: stopped halfway, nothing of it is there. It has a connection
//! of its own, so that no append waits behind it.

use crate::connector::{Connector, LogOptions, until};
use crate::link::{Link, explain, get};
use crate::settings::Settings;
use crate::thread::Thread;
use log::{Checkpoint, Checkpoints, LogError};
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use words::Position;
use xxhash_rust::xxh3::Xxh3;

/// The length of a chunk in bytes: a few of them are in memory at a time, here and in the server.
const CHUNK_BYTES: usize = 4 << 20;

/// The checkpoints of one log in PostgreSQL. Its calls wait, so they must not be made on a thread that serves an asynchronous
/// runtime.
pub struct CheckpointTable {
    thread: Arc<Thread>,
    connector: Connector,
    statements: Statements,
    link: Option<Link>,
}

struct Statements {
    put_chunk: String,
    put: String,
    list: String,
    get: String,
    get_chunk: String,
    delete: String,
}

impl Statements {
    fn new(connector: &Connector) -> Self {
        let whole = connector.sql.other_table("checkpoints");
        let chunks = connector.sql.other_table("checkpoint_chunks");
        Self {
            put_chunk: format!("INSERT INTO {chunks} VALUES ($1, $2, $3, $4)"),
            put: format!(
                "INSERT INTO {whole} (cell, index, epoch, digest, bytes, checksum) VALUES ($1, $2, $3, $4, $5, $6)"
            ),
            list: format!("SELECT index, epoch, digest, bytes FROM {whole} WHERE cell = $1 ORDER BY index DESC"),
            get: format!("SELECT checksum FROM {whole} WHERE cell = $1 AND index = $2"),
            get_chunk: format!("SELECT chunk FROM {chunks} WHERE cell = $1 AND index = $2 AND number = $3"),
            delete: format!(
                "WITH gone AS (DELETE FROM {whole} WHERE cell = $1 AND index < $2) \
                 DELETE FROM {chunks} WHERE cell = $1 AND index < $2"
            ),
        }
    }
}

impl CheckpointTable {
    /// Opens the checkpoints of a log that is there.
    ///
    /// # Errors
    /// As [`LogPostgres::open`](crate::LogPostgres::open).
    ///
    /// # Panics
    /// As [`LogPostgres::open`](crate::LogPostgres::open).
    pub fn open(settings: Settings, options: LogOptions) -> Result<Self, LogError> {
        let thread = Thread::start().map_err(|error| LogError::io("starting the checkpoints' thread", error))?;
        let connector = Connector::new(settings, LogOptions { prepares: false, ..options });
        let deadline = Instant::now() + connector.options.read_wait;
        let opened = thread.block_on(until(deadline, "opening the checkpoints", async || connector.open().await))?;
        let statements = Statements::new(&connector);
        Ok(Self { thread, connector, statements, link: Some(opened.link) })
    }

    async fn link(&mut self) -> Result<&Link, LogError> {
        if self.link.as_ref().is_none_or(|link| link.client.is_closed()) {
            self.link = None;
            let deadline = Instant::now() + self.connector.options.read_wait;
            let connector = &self.connector;
            let link = until(deadline, "reaching the checkpoints", async || connector.connect_beside().await).await?;
            self.link = Some(link);
        }
        Ok(self.link.as_ref().expect("it was just made where there was none"))
    }

    /// Sends chunks and then the row of a checkpoint, inside a transaction. Whether it is new.
    async fn send(&mut self, position: Position, digest: u64, from: &mut dyn Read) -> Result<bool, LogError> {
        self.link().await?;
        let link = self.link.as_ref().expect("it was just made");
        let failed = |error| self.failed("putting a checkpoint into", error);
        let (cell, index) = (self.connector.options.cell.as_str(), signed(position.index));
        let key: [(&(dyn ToSql + Sync), Type); 2] = [(&cell, Type::TEXT), (&index, Type::INT8)];
        link.client.batch_execute("BEGIN").await.map_err(failed)?;
        if link.client.query_typed_opt(&self.statements.get, &key).await.map_err(failed)?.is_some() {
            return Ok(false);
        }
        let (mut bytes, mut checksum) = (0_u64, Xxh3::new());
        for number in 0_i64.. {
            let chunk = read_chunk(from).map_err(|error| LogError::io("reading a checkpoint", error))?;
            if chunk.is_empty() {
                break;
            }
            bytes += chunk.len() as u64;
            checksum.update(&chunk);
            let row: [(&(dyn ToSql + Sync), Type); 4] =
                [(&cell, Type::TEXT), (&index, Type::INT8), (&number, Type::INT8), (&chunk, Type::BYTEA)];
            link.client.execute_typed(&self.statements.put_chunk, &row).await.map_err(failed)?;
        }
        let (epoch, digest) = (signed(position.epoch), digest.cast_signed());
        let (bytes, checksum) = (signed(bytes), checksum.digest().cast_signed());
        let row: [(&(dyn ToSql + Sync), Type); 6] = [
            (&cell, Type::TEXT),
            (&index, Type::INT8),
            (&epoch, Type::INT8),
            (&digest, Type::INT8),
            (&bytes, Type::INT8),
            (&checksum, Type::INT8),
        ];
        link.client.execute_typed(&self.statements.put, &row).await.map_err(failed)?;
        link.client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(true)
    }

    async fn fetch(&mut self, checkpoint: &Checkpoint, into: &mut dyn Write) -> Result<(), LogError> {
        self.link().await?;
        let link = self.link.as_ref().expect("it was just made");
        let failed = |error| self.failed("reading a checkpoint from", error);
        let (cell, index) = (self.connector.options.cell.as_str(), signed(checkpoint.position.index));
        let key: [(&(dyn ToSql + Sync), Type); 2] = [(&cell, Type::TEXT), (&index, Type::INT8)];
        let row = link.client.query_typed_opt(&self.statements.get, &key).await.map_err(failed)?;
        let Some(row) = row else { return Err(LogError::Trimmed { first: checkpoint.position.index + 1 }) };
        let expected = get::<i64>(&row, 0)?.cast_unsigned();
        let (mut bytes, mut checksum) = (0_u64, Xxh3::new());
        for number in 0_i64.. {
            let at: [(&(dyn ToSql + Sync), Type); 3] =
                [(&cell, Type::TEXT), (&index, Type::INT8), (&number, Type::INT8)];
            let row = link.client.query_typed_opt(&self.statements.get_chunk, &at).await.map_err(failed)?;
            let Some(row) = row else { break };
            let chunk: &[u8] = get(&row, 0)?;
            bytes += chunk.len() as u64;
            checksum.update(chunk);
            into.write_all(chunk).map_err(|error| LogError::io("writing a checkpoint", error))?;
        }
        if (bytes, checksum.digest()) == (checkpoint.bytes, expected) {
            return Ok(());
        }
        // Removed while it was read, or damaged.
        match link.client.query_typed_opt(&self.statements.get, &key).await.map_err(failed)? {
            None => Err(LogError::Trimmed { first: checkpoint.position.index + 1 }),
            Some(_) => Err(LogError::Corrupt {
                file: self.connector.sql.other_table("checkpoint_chunks"),
                offset: checkpoint.position.index,
                what: format!("the checkpoint behind entry {} is not what was put", checkpoint.position),
                remedy: "remove it and use another one",
            }),
        }
    }

    fn failed(&self, doing: &str, error: tokio_postgres::Error) -> LogError {
        if error.code() == Some(&SqlState::DISK_FULL) {
            return LogError::Full;
        }
        explain(&self.connector.settings, doing, error)
    }
}

impl Checkpoints for CheckpointTable {
    fn put(&mut self, position: Position, digest: u64, from: &mut dyn Read) -> Result<(), LogError> {
        let thread = Arc::clone(&self.thread);
        let put = thread.block_on(self.send(position, digest, from));
        if !matches!(put, Ok(true)) {
            // With the connection its transaction goes.
            self.link = None;
        }
        put.map(drop)
    }

    fn list(&mut self) -> Result<Vec<Checkpoint>, LogError> {
        let thread = Arc::clone(&self.thread);
        thread.block_on(async {
            self.link().await?;
            let link = self.link.as_ref().expect("it was just made");
            let cell = self.connector.options.cell.as_str();
            let cell: [(&(dyn ToSql + Sync), Type); 1] = [(&cell, Type::TEXT)];
            let rows = link.client.query_typed(&self.statements.list, &cell).await;
            let rows = rows.map_err(|error| self.failed("listing the checkpoints in", error))?;
            let checkpoint = |row: &tokio_postgres::Row| {
                let number = |at| get::<i64>(row, at).map(i64::cast_unsigned);
                let position = Position { index: number(0)?, epoch: number(1)? };
                Ok(Checkpoint { position, digest: number(2)?, bytes: number(3)? })
            };
            rows.iter().map(checkpoint).collect()
        })
    }

    fn get(&mut self, checkpoint: &Checkpoint, into: &mut dyn Write) -> Result<(), LogError> {
        let thread = Arc::clone(&self.thread);
        thread.block_on(self.fetch(checkpoint, into))
    }

    fn delete_before(&mut self, index: u64) -> Result<(), LogError> {
        let thread = Arc::clone(&self.thread);
        thread.block_on(async {
            self.link().await?;
            let link = self.link.as_ref().expect("it was just made");
            let (cell, index) = (self.connector.options.cell.as_str(), signed(index));
            let key: [(&(dyn ToSql + Sync), Type); 2] = [(&cell, Type::TEXT), (&index, Type::INT8)];
            let deleted = link.client.execute_typed(&self.statements.delete, &key).await;
            deleted.map(drop).map_err(|error| self.failed("removing checkpoints from", error))
        })
    }
}

/// The next chunk: whole, or the last one, or empty at the end.
fn read_chunk(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    from.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
