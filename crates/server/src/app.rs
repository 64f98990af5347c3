//! What every request shares, and how a request asks the cell.

use std::sync::Arc;
use std::time::Duration;

use call::AddressPolicy;
use cell::{CellHandle, Level, Query, Read, ReadReply, Reply, Write};
use edge::{BodyRoom, KeyRing, Limits, Stop};
use http::HeaderValue;
use outbox::{CallSecrets, Definitions, Traces, WebhookSecrets};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use wire::{Code, Problem};

use crate::config::StreamLimits;
use crate::metrics::Metrics;
use crate::nodes::Nodes;

/// How long after its deadline a request still waits for the cell's own word. The answer is there within twice that.
const GRACE: Duration = Duration::from_millis(50);

/// What every request shares.
pub(crate) struct App {
    /// The cell.
    pub cell: CellHandle,
    /// What one client may take.
    pub limits: Limits,
    /// The room for bodies that are not streams.
    pub bodies: BodyRoom,
    /// What a bulk stream may take.
    pub streams: StreamLimits,
    /// The keys in force; `None` where nobody is asked who they are.
    pub keys: Option<KeyRing>,
    /// The names of this server besides those of loopback.
    pub hosts: Vec<String>,
    /// The level of reads that name none.
    pub consistency: Level,
    /// The other nodes of the cell; `None` where this server has it alone.
    pub nodes: Option<Nodes>,
    /// For `Tertium-Served-By`.
    pub node: HeaderValue,
    /// Whom the server may call.
    pub addresses: Arc<dyn AddressPolicy>,
    /// Sagas as they were parsed.
    pub definitions: Definitions,
    /// What signs deliveries.
    pub secrets: WebhookSecrets,
    /// What calls may show their receivers.
    pub call_secrets: CallSecrets,
    /// Which trace calls belong to.
    pub traces: Traces,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the server is stopping.
    pub stop: Stop,
    /// Nobody's principal, shared so that no request has to make it.
    pub anonymous: Arc<str>,
}

impl App {
    /// Hands a write to the cell, which answers by the deadline. Whoever stops waiting does not stop the write.
    pub(crate) async fn write(&self, command: Vec<u8>, deadline_us: u64) -> Reply {
        // Without an answer the cell's thread is gone or waits for a disk that hangs: nobody knows what it still does.
        self.wait(self.submit(command, deadline_us, true), deadline_us).await
    }

    /// The same, and does not wait for the end of what is accepted first.
    pub(crate) async fn accept(&self, command: Vec<u8>, deadline_us: u64) -> Reply {
        self.wait(self.submit(command, deadline_us, false), deadline_us).await
    }

    /// The cell's answer to what was submitted, waited for as long as its deadline allows.
    pub(crate) async fn wait(&self, reply: oneshot::Receiver<Reply>, deadline_us: u64) -> Reply {
        match timeout(self.patience(deadline_us), reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Reply::Uncertain,
        }
    }

    /// Until the deadline, and a little longer: the cell's own answer says more than silence.
    fn patience(&self, deadline_us: u64) -> Duration {
        Duration::from_micros(deadline_us.saturating_sub(self.cell.now_us())) + GRACE
    }

    /// An instant of the cell's clock on the runtime's.
    pub(crate) fn instant_of(&self, deadline_us: u64) -> Instant {
        Instant::now() + Duration::from_micros(deadline_us.saturating_sub(self.cell.now_us()))
    }

    /// Hands a write to the cell and gives what its answer will come through.
    pub(crate) fn submit(&self, command: Vec<u8>, deadline_us: u64, waits_for_end: bool) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        self.cell.write(Write { command, deadline_us, waits_for_end }, move |reply| {
            // Whoever asked may have gone; the write happened all the same.
            let _ = sender.send(reply);
        });
        receiver
    }

    /// Reads.
    ///
    /// # Errors
    /// `stopping` where the cell is gone, `deadline-exceeded` where it does not answer in time.
    pub(crate) async fn read(&self, level: Level, deadline_us: u64, query: Query) -> Result<ReadReply, Problem> {
        let (sender, receiver) = oneshot::channel();
        self.cell.read(Read { level, deadline_us, query }, move |reply| {
            // Whoever asked may have gone.
            let _ = sender.send(reply);
        });
        match timeout(self.patience(deadline_us), receiver).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Problem::of(Code::Stopping)),
            Err(_) => Err(Problem::of(Code::DeadlineExceeded)),
        }
    }
}
