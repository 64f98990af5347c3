//! From a configuration to a serving process, and to its orderly end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use call::{Client, SettingsError};
use cell::{CellHandle, OpenLog, Recovery, StartError, Stopper};
use edge::{BodyRoom, KeyRing, KeysError, Listener, Stop, TlsError, TlsServer};
use http::HeaderValue;
use log::{Log, LogError};
use log_postgres::NodeTable;
use outbox::{CallSecrets, Definitions, Outbox, SecretsError, UnderWay, WebhookSecrets};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::app::App;
use crate::call::Service;
use crate::config::{Config, NodeConfig};
use crate::metrics::Metrics;
use crate::nodes::{Nodes, Telling};

/// The exit code of a server that could not start: EX_CONFIG of sysexits.h.
const EXIT_CANNOT_START: u8 = 78;

/// How to say that the server listens: called once, with where.
pub(crate) type Greet = Box<dyn FnOnce(SocketAddr) + Send>;

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: Stop,
    stopper: Stopper,
    serving: tokio::task::JoinHandle<usize>,
    keeping_keys: Option<tokio::task::JoinHandle<()>>,
    under_way: UnderWay,
    performing: tokio::task::JoinHandle<()>,
    telling: Option<Telling>,
    stop_grace: Duration,
}

/// Why a server cannot start.
#[derive(Debug)]
pub enum RunError {
    /// The certificate or its key cannot be used.
    Tls(TlsError),
    /// The API keys cannot be read.
    Keys(KeysError),
    /// A file of secrets cannot be read.
    Secrets(SecretsError),
    /// The settings of the calls that the server makes do not go together.
    Calls(SettingsError),
    /// The address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The cell cannot start.
    Cell(StartError),
    /// The system gives no threads or no signals.
    System(std::io::Error),
}

/// Runs a server until SIGTERM or SIGINT, and gives the exit code of its process: 0 after an orderly end, 78 where it
/// could not start. Writes to stderr why not.
pub fn run(config: Config, greet: Greet) -> u8 {
    crate::logs::start(&config);
    match run_to_end(config, greet) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("tertium: cannot start: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            EXIT_CANNOT_START
        }
    }
}

fn run_to_end(config: Config, greet: Greet) -> Result<(), RunError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let worker_threads = match config.worker_threads {
        // The cell's own thread takes a core.
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
        chosen => chosen,
    };
    builder.worker_threads(worker_threads);
    let runtime = builder.enable_all().thread_name("tertium-serve").build().map_err(RunError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
        let running = start(config).await?;
        greet(running.address());
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
        }
        running.stop().await;
        Ok(())
    })
}

/// Starts a server on the log that is configured: recovers the cell, then listens.
///
/// # Errors
/// [`RunError`].
pub async fn start(config: Config) -> Result<Running, RunError> {
    let (log, schema, durability) = (config.log.clone(), config.log_schema.clone(), config.log_durability);
    let Some(node) = config.node_config() else {
        return start_on(config, move |open| log.open(&schema, durability, open)).await;
    };
    let (sender, table) = channel();
    let open_log = move |open: OpenLog| {
        let cell = open.cell.clone();
        let opened = log.clone().open(&schema, durability, open)?;
        // Before anything is written to the log: no two nodes have one name.
        if let Some(table) = log.open_nodes(&schema, durability, &cell, &node.node)? {
            // The receiver waits below.
            let _ = sender.send(table);
        }
        Ok(opened)
    };
    start_with(config, open_log, Some(table)).await
}

/// The same on another log, or on one that something stands before.
///
/// # Errors
/// [`RunError`].
pub async fn start_on(
    config: Config,
    open_log: impl FnOnce(OpenLog) -> Result<Box<dyn Log>, LogError> + Send + 'static,
) -> Result<Running, RunError> {
    start_with(config, open_log, None).await
}

/// Among others where `table` gives the name of this node, once the log is open.
async fn start_with(
    config: Config,
    open_log: impl FnOnce(OpenLog) -> Result<Box<dyn Log>, LogError> + Send + 'static,
    table: Option<Receiver<NodeTable>>,
) -> Result<Running, RunError> {
    let tls = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsServer::load(certificate, key).map_err(RunError::Tls)?),
        _ => None,
    };
    // Bound before the cell recovers, so that a taken port is known at once; connections wait in the backlog.
    let listener = Listener::bind(config.listen, config.limits.clone(), tls)
        .map_err(|error| RunError::Listen { address: config.listen, error })?;
    let address = listener.address().map_err(|error| RunError::Listen { address: config.listen, error })?;
    let data = config.data.clone();
    let options = cell::Options { turns: table.is_some().then_some(config.turns), ..config.cell.clone() };
    let addresses = config.calls.policy(config.listen.ip().is_loopback());
    let client = Client::new(config.calls.settings(Arc::clone(&addresses))).map_err(RunError::Calls)?;
    let call_secrets = CallSecrets::open(config.call_secrets_path()).map_err(RunError::Secrets)?;
    let outbox = Outbox::default().with_call_secrets(call_secrets.clone());
    let handed = outbox.of_cell();
    let started =
        tokio::task::spawn_blocking(move || cell::start(&data, options, open_log, handed, &mut tell_progress)).await;
    let (cell, stopper) = started.map_err(|error| RunError::System(error.into()))?.map_err(RunError::Cell)?;
    let keys = match config.authentication {
        true => Some(KeyRing::open(config.keys_path()).map_err(RunError::Keys)?),
        false => None,
    };
    if keys.as_ref().is_some_and(KeyRing::is_empty) {
        warn!(file = %config.keys_path().display(), "there are no API keys: nobody can come in before `tertium keys create`");
    }
    let secrets = WebhookSecrets::open(config.secrets_path()).map_err(RunError::Secrets)?;
    let (nodes, telling) = join(config.node_config(), &cell, table).map_err(RunError::Calls)?;
    let stop = listener.stop();
    let bodies = BodyRoom::new(config.limits.bodies_bytes_max);
    let app = Arc::new(App {
        nodes,
        // An id is a header value.
        node: HeaderValue::from_str(&config.cell.node).unwrap_or_else(|_| HeaderValue::from_static("node")),
        metrics: Metrics::new(cell.clone(), client.clone(), bodies.clone(), outbox.deliveries()),
        addresses,
        definitions: Definitions::default(),
        secrets: secrets.clone(),
        call_secrets,
        traces: outbox.traces(),
        hosts: config.hosts,
        cell: cell.clone(),
        bodies,
        limits: config.limits,
        streams: config.streams,
        keys: keys.clone(),
        consistency: config.consistency,
        stop: stop.clone(),
        anonymous: "".into(),
    });
    let under_way = outbox.under_way();
    let performing = tokio::spawn(outbox.run(
        cell,
        client,
        Arc::clone(&app.addresses),
        app.definitions.clone(),
        secrets,
        config.deliveries,
    ));
    let position = app.cell.status().position;
    info!(%address, %position, "serving");
    let keeping_keys = keys.map(|keys| tokio::spawn(keys.keep_current()));
    let stop_grace = app.limits.stop_grace;
    let serving = tokio::spawn(listener.serve(Service::new(app)));
    Ok(Running { telling, address, stop, stopper, serving, keeping_keys, under_way, performing, stop_grace })
}

/// Begins to speak with the other nodes, where there may be others.
fn join(
    node: Option<NodeConfig>,
    cell: &CellHandle,
    table: Option<Receiver<NodeTable>>,
) -> Result<(Option<Nodes>, Option<Telling>), SettingsError> {
    let table = table.and_then(|table| table.try_recv().ok());
    let Some((node, table)) = node.zip(table) else { return Ok((None, None)) };
    let (nodes, telling) = Nodes::start(node, cell.clone(), table)?;
    Ok((Some(nodes), Some(telling)))
}

fn tell_progress(recovery: Recovery) {
    info!(?recovery, "recovering");
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: takes no new work, finishes or times out what is in flight, makes everything durable.
    pub async fn stop(self) {
        self.stop.stop();
        match self.serving.await {
            Ok(0) => {}
            Ok(cut) => warn!(connections = cut, "requests were cut off; what they asked for is decided all the same"),
            Err(error) => warn!(%error, "serving ended early"),
        }
        if let Some(task) = self.keeping_keys {
            task.abort();
        }
        // What came of calls under way should still be told; what is not in time is found uncertain by the next leader.
        if !self.under_way.none_within(self.stop_grace).await {
            warn!("calls were cut off; they are uncertain until the server runs again");
        }
        let stopper = self.stopper;
        if let Err(error) = tokio::task::spawn_blocking(move || stopper.stop()).await {
            warn!(%error, "the cell was not stopped in order");
        }
        // Its name is free once it is gone.
        let telling = self.telling;
        let _ = tokio::task::spawn_blocking(move || drop(telling)).await;
        // The cell is gone, and with it whatever could still be handed over.
        self.performing.abort();
        info!("stopped");
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(_) => f.write_str("TLS cannot be used"),
            Self::Keys(_) => f.write_str("the API keys cannot be used"),
            Self::Secrets(_) => f.write_str("the secrets cannot be used"),
            Self::Calls(_) => f.write_str("the settings of calls cannot be used"),
            Self::Listen { address, .. } => write!(f, "cannot listen on {address}"),
            Self::Cell(_) => f.write_str("the cell cannot start"),
            Self::System(_) => f.write_str("the system refuses what a server needs"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Keys(error) => Some(error),
            Self::Secrets(error) => Some(error),
            Self::Calls(error) => Some(error),
            Self::Cell(error) => Some(error),
            Self::Listen { error, .. } | Self::System(error) => Some(error),
        }
    }
}
