//! One connection: the client, the task that serves it, and what the server warned of.

use crate::schema::{self, Sql};
use crate::settings::Settings;
use crate::tls::Tls;
use crate::verdict::casts_doubt;
use log::LogError;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Error, Row, Statement};

/// The oldest version that has all that is used: taking a partition out beside the appends came with it.
const VERSION_MIN: i32 = 140_000;

/// How long it may take to tell the server that nobody waits any more.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// A connection whose session is set up, to a server that keeps what it says. Dropped, it is closed at once, whatever waits
/// on it.
pub(crate) struct Link {
    pub(crate) client: Client,
    doubt: Arc<Mutex<Option<String>>>,
    _served: Served,
}

/// Tells the server that nobody waits any more, unless it has answered. Dropped where a future of the runtime is.
pub(crate) struct GivesUp {
    token: Option<CancelToken>,
    tls: Tls,
}

impl GivesUp {
    /// The server has answered.
    pub(crate) fn answered(mut self) {
        self.token = None;
    }
}

impl Drop for GivesUp {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let tls = self.tls.clone();
            // Where the server is not reached, its own bounds are left.
            tokio::spawn(async move { timeout(CANCEL_WAIT, token.cancel_query(tls)).await });
        }
    }
}

/// A connection to the log's own database, with its statements prepared.
pub(crate) struct LogLink {
    pub(crate) link: Link,
    pub(crate) append: Statement,
    pub(crate) tail: Statement,
    pub(crate) read: Statement,
}

/// What a session is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) wants_quorum: bool,
    /// How long a statement may take.
    pub(crate) wait: Duration,
    /// Whether a server that does not sync is taken.
    pub(crate) takes_unsafe_server: bool,
}

struct Served(JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Connects, sets the session up, and asks the server whether it keeps what it says.
    pub(crate) async fn connect(settings: &Settings, session: Session) -> Result<Self, LogError> {
        let reaching = |error| explain(settings, "connecting to", error);
        let (client, mut connection) = settings.config.connect(settings.tls.clone()).await.map_err(reaching)?;
        let doubt = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&doubt);
        let served = tokio::spawn(async move {
            // What ends the connection is told to whoever waits on it.
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message
                    && casts_doubt(notice.parsed_severity())
                {
                    let text = format!("{} {}: {}", notice.severity(), notice.code().code(), notice.message());
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                }
            }
        });
        let link = Self { client, doubt, _served: Served(served) };
        link.set_up(settings, session).await?;
        Ok(link)
    }

    /// What the server warned of since this was asked last.
    pub(crate) fn take_doubt(&self) -> Option<String> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// While this lives, what the connection waits for is given up when it is dropped. For what may be given up only: an append that
    /// waits for a standby stays as it is.
    pub(crate) fn give_up_with(&self, settings: &Settings) -> GivesUp {
        GivesUp { token: Some(self.client.cancel_token()), tls: settings.tls.clone() }
    }

    async fn set_up(&self, settings: &Settings, session: Session) -> Result<(), LogError> {
        let failed = |error| explain(settings, "setting up a session of", error);
        // Shorter than the caller waits, so that what waited for a lock mostly is known not to be done.
        let wait_ms = (session.wait.as_millis() as u64 * 3 / 4).max(1);
        self.client.batch_execute(&Sql::session(session.wants_quorum, wait_ms)).await.map_err(failed)?;
        let row = self.client.query_typed_one(schema::SERVER, &[]).await.map_err(failed)?;
        let (version, is_standby): (i32, bool) = (get(&row, 0)?, get(&row, 1)?);
        let (syncs, whole_pages): (bool, bool) = (get(&row, 2)?, get(&row, 3)?);
        if version < VERSION_MIN {
            return Err(foreign(
                settings,
                format!("it is PostgreSQL {}", version / 10_000),
                "use PostgreSQL 14 or later",
            ));
        }
        if is_standby {
            let source = io::Error::other("it is a standby; what a standby shows is not the log");
            return Err(LogError::io(format!("using {settings}"), source));
        }
        if !(session.takes_unsafe_server || syncs && whole_pages) {
            let which = if syncs { "full_page_writes" } else { "fsync" };
            let remedy = "set it to on in postgresql.conf and restart the server: without it a power cut loses what was acknowledged";
            return Err(foreign(settings, format!("its setting {which} is off"), remedy));
        }
        Ok(())
    }

    /// Prepares the log's statements, once it is known to be the log's database.
    pub(crate) async fn for_log(self, settings: &Settings, sql: &Sql) -> Result<LogLink, LogError> {
        let failed = |error| explain(settings, "preparing the statements in", error);
        let append = self.client.prepare_typed(&sql.append, &schema::APPEND_TYPES).await.map_err(failed)?;
        let tail = self.client.prepare_typed(&sql.tail, &[Type::TEXT]).await.map_err(failed)?;
        let types = [Type::TEXT, Type::INT8, Type::INT8, Type::INT8];
        let read = self.client.prepare_typed(&sql.read, &types).await.map_err(failed)?;
        // What it warned of until now casts no doubt on an append.
        self.take_doubt();
        Ok(LogLink { link: self, append, tail, read })
    }
}

/// The value of a column, whose type the statement fixes.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, LogError> {
    row.try_get(at).map_err(|error| LogError::io("understanding the database's answer", io::Error::other(error)))
}

/// That the database is not one for this log.
pub(crate) fn foreign(settings: &Settings, what: impl Into<String>, remedy: &'static str) -> LogError {
    LogError::Foreign { file: settings.to_string(), what: what.into(), remedy }
}

/// What an error of the database means: something that may pass, or something that a person has to mend.
pub(crate) fn explain(settings: &Settings, doing: &str, error: Error) -> LogError {
    if let Some(remedy) = remedy(&error) {
        return foreign(settings, text(&error), remedy);
    }
    LogError::io(format!("{doing} {settings}"), io::Error::other(text(&error)))
}

/// What a person does about it, where it does not pass by itself.
fn remedy(error: &Error) -> Option<&'static str> {
    if let Some(database) = error.as_db_error() {
        return match database.code().code() {
            "28P01" => Some("put the role's password into PGPASSWORD or the password file"),
            "28000" => Some("let this role connect from here: see the server's pg_hba.conf, and sslmode"),
            "3D000" => Some("create the database, or name the right one in the URL"),
            "42501" => Some(
                "let this role own the schema of the log, or create it: GRANT CREATE ON DATABASE, or ALTER SCHEMA ... OWNER TO",
            ),
            "42P01" | "42703" | "3F000" => {
                Some("the log's tables were changed by hand: bring them back, from a backup if need be")
            }
            _ => None,
        };
    }
    // The client names its kinds in its texts only.
    match error.to_string().as_str() {
        "error performing TLS handshake" => {
            Some("see sslmode, and name the authority of the server's certificate with sslrootcert")
        }
        "invalid configuration" | "authentication error" => {
            Some("put the role's password into PGPASSWORD or the password file")
        }
        _ => None,
    }
}

/// What the database or the way to it said, in one line.
pub(crate) fn text(error: &Error) -> String {
    if let Some(database) = error.as_db_error() {
        return format!("{} {}: {}", database.severity(), database.code().code(), database.message());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
