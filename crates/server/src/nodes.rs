//! The other nodes of the cell: who leads and where, what this one says of itself, and whether it may claim.
//!
//! What is said beside the log decides nothing. It is where a follower finds the leader to pass writes on to, what people look at, and
//! what a promotion policy goes by.

mod forward;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use call::{AddressPolicy, BulkheadSettings, Client, DestinationSettings, Settings, SettingsError, TransportSettings};
use cell::{CellHandle, Role};
use log_postgres::{NodeSaid, NodeSeen, NodeTable};
use tracing::{info, warn};

pub(crate) use forward::{forward, promote, refuse_follower};

use crate::config::{NodeConfig, Promotion};

/// How often this node looks whether it has something new to say.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A node that was not heard of for so long is not handed the lead, nor asked for it.
const HEARD_WITHIN_MS: u64 = 5_000;

/// Requests that are passed on at a time, and that wait to be.
const FORWARDS_MAX: usize = 4_096;

/// The largest answer that is passed back: more than a leader gives to the largest request.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// This node among the others. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: NodeConfig,
    cell: CellHandle,
    client: Client,
    known: Mutex<Vec<NodeSeen>>,
}

/// Ends what keeps the other nodes informed when dropped.
#[derive(Debug)]
pub(crate) struct Telling {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Nodes are named by whoever runs them: they may be anywhere.
#[derive(Debug)]
struct Anywhere;

impl AddressPolicy for Anywhere {
    fn check(&self, _: &str, _: std::net::SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

impl Nodes {
    /// Begins to tell the others of this node, and to hear of them.
    ///
    /// # Errors
    /// [`SettingsError`] where the system's trust roots cannot be read.
    ///
    /// # Panics
    /// Where the system has no thread to spare.
    pub(crate) fn start(
        config: NodeConfig,
        cell: CellHandle,
        table: NodeTable,
    ) -> Result<(Self, Telling), SettingsError> {
        let bulkhead = BulkheadSettings { concurrency_max: FORWARDS_MAX, waiting_max: FORWARDS_MAX };
        // There is one leader: to leave it alone for a while helps nobody.
        let transport = TransportSettings { body_bytes_max: ANSWER_BYTES_MAX, ..TransportSettings::default() };
        let destination = DestinationSettings { bulkhead, breaker: None, transport, ..DestinationSettings::default() };
        let client = Client::new(Settings { addresses: Arc::new(Anywhere), destination, ..Settings::default() })?;
        // What the others say is not known yet.
        cell.allow_claims(config.promotion == Promotion::Auto);
        let nodes = Self { shared: Arc::new(Shared { config, cell, client, known: Mutex::default() }) };
        let (stop, stopped) = channel();
        let telling = nodes.clone();
        let thread = std::thread::Builder::new()
            .name("tertium-nodes".to_owned())
            .spawn(move || telling.tell(table, &stopped))
            .expect("the system has a thread to spare");
        Ok((nodes, Telling { stop: Some(stop), thread: Some(thread) }))
    }

    /// Whether another node leads, or nobody.
    pub(crate) fn follows(&self) -> bool {
        self.shared.cell.status().role == Role::Follower
    }

    /// All nodes, as they were last heard of.
    pub(crate) fn known(&self) -> Vec<NodeSeen> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The leader of the newest reign that is known here, if it said where it is.
    pub(crate) fn leader(&self) -> Option<NodeSeen> {
        let epoch = self.shared.cell.status().epoch;
        leader_of(&self.shared.known.lock().unwrap_or_else(PoisonError::into_inner), epoch).cloned()
    }

    fn tell(&self, mut table: NodeTable, stopped: &Receiver<()>) {
        let (mut told, mut told_at, mut is_deaf) = (None, Instant::now(), false);
        let heartbeat = Duration::from_millis(self.shared.config.turns.heartbeat_ms);
        loop {
            let status = self.shared.cell.status();
            let said = NodeSaid {
                node: self.shared.config.node.clone(),
                advertise: self.shared.config.advertise.clone(),
                region: self.shared.config.region.clone(),
                role: role_name(status.role).to_owned(),
                epoch: status.epoch,
                index: status.position.index,
            };
            let is_lost = status.role == Role::Follower && self.leader().is_none();
            let state = (status.role, status.epoch);
            if told != Some(state) || is_lost || told_at.elapsed() >= heartbeat {
                told_at = Instant::now();
                match table.say(&said) {
                    Ok(known) => {
                        if told.is_none_or(|(role, _)| role != status.role) {
                            info!(role = said.role, epoch = said.epoch, "this node takes its turn");
                        }
                        let may_claim =
                            self.shared.config.promotion.allows(&self.shared.config.region, &known, status.epoch);
                        self.shared.cell.allow_claims(may_claim);
                        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
                        (told, is_deaf) = (Some(state), false);
                    }
                    // A name that another process took meanwhile is said here, too: both go on, and the log takes one of two claims.
                    Err(error) if !is_deaf => {
                        warn!(%error, "the other nodes cannot be told how this one is");
                        is_deaf = true;
                    }
                    Err(_) => {}
                }
            }
            match stopped.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been told already.
            let _ = thread.join();
        }
    }
}

impl Promotion {
    /// Whether a node of `region` may claim by itself when the leader of the reign `epoch` is silent.
    fn allows(self, region: &str, known: &[NodeSeen], epoch: u64) -> bool {
        match self {
            Self::Auto => true,
            Self::Manual => false,
            // Where nobody ever led there is no region to stay in. Where the leader did not say where it was, or not within a day, a
            // person decides: an older one says nothing of it.
            Self::Region => leader_of(known, epoch).map_or(epoch == 0, |leader| leader.said.region == region),
        }
    }
}

/// The name of what a node does.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
    }
}

/// Whoever claims to lead the newest reign, not before `epoch`.
fn leader_of(known: &[NodeSeen], epoch: u64) -> Option<&NodeSeen> {
    let leaders = known.iter().filter(|seen| seen.said.role == role_name(Role::Leader) && seen.said.epoch >= epoch);
    leaders.max_by_key(|seen| seen.said.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: &str, role: Role, epoch: u64, region: &str) -> NodeSeen {
        let said = NodeSaid {
            node: node.to_owned(),
            advertise: String::new(),
            region: region.to_owned(),
            role: role_name(role).to_owned(),
            epoch,
            index: 0,
        };
        NodeSeen { said, ago_ms: 0 }
    }

    #[test]
    fn the_leader_is_who_leads_the_newest_reign() {
        let known =
            [seen("a", Role::Leader, 3, "eu"), seen("b", Role::Leader, 4, "us"), seen("c", Role::Follower, 5, "eu")];
        for (epoch, expected) in [(0, Some("b")), (4, Some("b")), (5, None)] {
            assert_eq!(leader_of(&known, epoch).map(|leader| leader.said.node.as_str()), expected, "{epoch}");
        }
    }

    #[test]
    fn who_may_claim() {
        let known = [seen("a", Role::Leader, 3, "eu"), seen("b", Role::Follower, 3, "us")];
        for (promotion, region, known, epoch, expected) in [
            (Promotion::Auto, "us", &known[..], 3, true),
            (Promotion::Manual, "eu", &known[..], 3, false),
            (Promotion::Region, "eu", &known[..], 3, true),
            (Promotion::Region, "us", &known[..], 3, false),
            (Promotion::Region, "us", &[], 0, true),
            (Promotion::Region, "eu", &known[..], 4, false),
            (Promotion::Region, "eu", &[], 4, false),
        ] {
            assert_eq!(promotion.allows(region, known, epoch), expected, "{promotion:?} {region} {epoch}");
        }
    }
}
