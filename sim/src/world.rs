//! The world: one heap of events, the server, its clients, the faults between them.

mod clients;
mod disasters;
mod leases;
mod outside;
mod server;
mod workflows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use cell::{Now, ReadReply, Reply};
use disk::SimDisk;
use fastrand::Rng;
use hashbrown::HashMap;

use crate::canary::Canary;
use crate::check::Ledger;
use crate::client::{Call, Client, ReadCall};
use crate::faults::{Fault, Swarm};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::receiver::Receiver;
use crate::report::Outcome;
use crate::trace::Trace;
use outside::{Flight, Outside, RECEIVERS};
use server::Patience;
use workflows::{EVENTS_HEALING_US, SAGAS_HEALING_US, Workflows};

/// 2026-01-01T00:00:00Z, when simulated time begins, in microseconds since 1970.
const EPOCH_US: u64 = 1_767_225_600_000_000;

/// How much longer a world with durable calls may take to come to an end: a deadline, an attempt that was lost, its report,
/// twice the longest bound, and two turns in vain, each of which may put what is past its bound off for a minute.
const CALLS_HEALING_US: u64 = 50_000_000 + 2 * 60_000_000;

/// What a run is to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// How many clients there are. Default 3.
    pub clients: usize,
    /// For how long faults act, in microseconds of simulated time. Default 20 s.
    pub faulty_us: u64,
    /// How long everything has to come to an end after that. Default 10 s; durable calls have their bounds on top.
    pub healing_us: u64,
    /// A planted bug.
    pub canary: Option<Canary>,
    /// Whether to keep a readable trace.
    pub trace: bool,
}

impl Settings {
    /// The defaults for a seed.
    pub const fn of(seed: u64) -> Self {
        Self { seed, clients: 3, faulty_us: 20_000_000, healing_us: 10_000_000, canary: None, trace: false }
    }
}

/// Runs one seed to its end.
pub fn run(settings: Settings) -> Outcome {
    let mut world = World::new(settings);
    let mut result = world.live();
    if result.is_ok() {
        // What is wrong says more than what did not come to an end.
        let finished = world.finish();
        world.close_receivers();
        world.close_hooks();
        result = world.ledger.judge(&mut world.outcome).and(finished);
    }
    world.outcome.violation = result.err();
    world.outcome.faults = world.swarm.counts;
    // What waits for hours for its next attempt is no feat of speed.
    world.outcome.simulated_us = world.time_us.min(settings.faulty_us + settings.healing_us + CALLS_HEALING_US);
    world.outcome.entries = world.ledger.log.len() as u64;
    world.outcome.trace_digest = world.trace.digest();
    world.outcome.lines = std::mem::take(&mut world.trace).into_lines();
    world.outcome
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Step { client: usize },
    ToServer { request: u64 },
    ToClient { message: u64 },
    Timeout { client: usize, request: u64 },
    AppendEnd { life: u64 },
    HouseEnd { life: u64 },
    Poll { life: u64 },
    Disaster,
    Restart,
    Room,
    Heal,
    Outside(Outside),
}

/// A request on its way, and who waits for it.
#[derive(Clone, Debug)]
struct Request {
    client: usize,
    call: u64,
    payload: Payload,
    invoked_us: u64,
}

#[derive(Clone, Debug)]
enum Payload {
    Write { key: String, command: Vec<u8>, timeout_us: u64, is_settle: bool, waits_for_end: bool },
    Read(ReadCall),
}

/// What a client is waiting for.
#[derive(Clone, Debug)]
enum Doing {
    Nothing,
    Write { call: u64, state: Call, request: u64 },
    Read { request: u64 },
}

enum Message {
    Write(u64, Reply),
    Read(u64, ReadReply),
}

struct World {
    settings: Settings,
    time_us: u64,
    sequence: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    network: Rng,
    chance: Rng,
    disk_rng: Rng,
    disk: SimDisk,
    node: Option<Node>,
    /// Which life of the server this is: events of an earlier one are void.
    life: u64,
    paused_until_us: u64,
    next_poll_us: u64,
    house_is_busy: bool,
    wall_offset_us: i64,
    drift_ppm: i64,
    swarm: Swarm,
    clients: Vec<(Client, Doing)>,
    requests: HashMap<u64, Request>,
    messages: HashMap<u64, Message>,
    next_id: u64,
    /// Whether durable calls are part of the workload.
    has_calls: bool,
    workflows: Workflows,
    leases_percent: u32,
    outside: Rng,
    outbox: Outbox,
    receivers: Vec<Receiver>,
    flights: BTreeMap<u64, Flight>,
    /// Who waits for an answer of this life, and until when.
    waits: HashMap<u64, Patience>,
    ledger: Ledger,
    last_read: HashMap<u64, ReadReply>,
    /// When the append began that a crash cut short: a restart may find it done.
    lost_append_us: Option<u64>,
    healed: bool,
    trace: Trace,
    outcome: Outcome,
}

impl World {
    fn new(settings: Settings) -> Self {
        let mut root = Rng::with_seed(settings.seed);
        let mut stream = || Rng::with_seed(root.u64(..));
        let mut swarm = Swarm::draw(stream());
        let drift_ppm = if swarm.has(Fault::ClockDrift) { swarm.between(0, 10_000) as i64 - 5_000 } else { 0 };
        if drift_ppm != 0 {
            swarm.counts.note(Fault::ClockDrift);
        }
        let (network, chance, disk_rng) = (stream(), stream(), stream());
        let clients: Vec<_> = (0..settings.clients).map(|_| stream()).collect();
        let mut outside = stream();
        let has_calls = outside.bool();
        let calls_percent = if has_calls { outside.u32(10..50) } else { 0 };
        let workflows = Workflows::draw(stream());
        let leases_percent = leases::draw(stream());
        let bound_divisor = if settings.canary == Some(Canary::EarlyWayOut) { 3 } else { 1 };
        let client = |(id, rng)| {
            let mut client = Client::new(id, rng, calls_percent, RECEIVERS as u64);
            client.bound_divisor = bound_divisor;
            (client, Doing::Nothing)
        };
        Self {
            time_us: 0,
            sequence: 0,
            heap: BinaryHeap::new(),
            network,
            chance,
            disk_rng,
            disk: SimDisk::new(),
            node: None,
            life: 0,
            paused_until_us: 0,
            next_poll_us: u64::MAX,
            house_is_busy: false,
            wall_offset_us: 0,
            drift_ppm,
            swarm,
            clients: clients.into_iter().enumerate().map(client).collect(),
            requests: HashMap::new(),
            messages: HashMap::new(),
            next_id: 1,
            has_calls,
            workflows,
            leases_percent,
            outside,
            outbox: Outbox::new(RECEIVERS),
            receivers: Vec::new(),
            flights: BTreeMap::new(),
            waits: HashMap::new(),
            ledger: Ledger::default(),
            last_read: HashMap::new(),
            lost_append_us: None,
            healed: false,
            trace: Trace::new(settings.trace),
            outcome: Outcome { seed: settings.seed, ..Outcome::default() },
            settings,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        if self.has_calls || self.workflows.has_sagas {
            self.open_receivers();
        }
        self.begin_workflows();
        self.begin_leases(self.leases_percent);
        self.start_node()?;
        for client in 0..self.settings.clients {
            self.after(client as u64 * 1_000, Event::Step { client });
        }
        self.after(200_000, Event::Disaster);
        self.after(self.settings.faulty_us, Event::Heal);
        let calls_us = if self.has_calls { CALLS_HEALING_US } else { 0 };
        let sagas_us = if self.workflows.has_sagas { SAGAS_HEALING_US } else { 0 };
        let events_us = if self.workflows.has_events { EVENTS_HEALING_US } else { 0 };
        let end_us = self.settings.faulty_us + self.settings.healing_us + calls_us + sagas_us + events_us;
        while let Some(Reverse((time_us, _, event))) = self.heap.pop() {
            if time_us > end_us || (self.healed && self.is_quiet()) {
                break;
            }
            self.time_us = time_us;
            self.trace.mark(time_us);
            self.handle(event)?;
        }
        Ok(())
    }

    /// Everything must have come to a definite end.
    fn finish(&mut self) -> Result<(), String> {
        for (client, doing) in &self.clients {
            if let Doing::Write { state, .. } = doing {
                return Err(format!("client {} still does not know what became of `{}`", client.id, state.key));
            }
        }
        let Some(node) = &self.node else { return Err("the server is not up after healing".to_owned()) };
        if !node.cell.is_idle() {
            return Err("the server is not idle after healing".to_owned());
        }
        if let Some(open) = self.open_workflows() {
            return Err(open);
        }
        if !self.outside_is_quiet() {
            return Err(format!("{} calls are still open after healing", node.cell.machine().calls_len()));
        }
        self.check_nobody_waits();
        Ok(())
    }

    /// Whether there is anything beyond calls and the ledger.
    const fn has_workflows(&self) -> bool {
        self.workflows.has_sagas || self.workflows.has_events
    }

    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|(_, doing)| matches!(doing, Doing::Nothing))
            && self.node.as_ref().is_some_and(|node| node.cell.is_idle() && node.appending.is_none())
            && self.outside_is_quiet()
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        let of_this_life = |life: u64| life == self.life;
        match event {
            Event::Step { client } => self.step_client(client),
            Event::ToClient { message } => self.deliver(message),
            Event::Timeout { client, request } => self.time_out(client, request),
            Event::Heal => self.heal(),
            Event::Room => self.disk.set_capacity(None),
            Event::Disaster => self.disaster(),
            Event::Restart => return self.start_node(),
            Event::Outside(outside) if !outside.is_in_server() => return self.handle_outside(outside),
            _ if self.paused_until_us > self.time_us => self.at(self.paused_until_us, event),
            Event::ToServer { request } => return self.receive(request),
            Event::Outside(outside) => return self.handle_outside(outside),
            Event::AppendEnd { life } if of_this_life(life) => return self.end_append(),
            Event::HouseEnd { life } if of_this_life(life) => return self.end_house_work(),
            Event::Poll { life } if of_this_life(life) => {
                self.next_poll_us = u64::MAX;
                let now = self.now();
                if let Some(node) = &mut self.node {
                    node.cell.expire(now);
                }
                return self.pump();
            }
            Event::AppendEnd { .. } | Event::HouseEnd { .. } | Event::Poll { .. } => {}
        }
        Ok(())
    }

    fn at(&mut self, time_us: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((time_us.max(self.time_us), self.sequence, event)));
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.time_us + delay_us, event);
    }

    fn now(&self) -> Now {
        let drifted = self.time_us as i64 + self.time_us as i64 / 1_000_000 * self.drift_ppm;
        let wall_us = (EPOCH_US as i64 + drifted + self.wall_offset_us) as u64;
        let mono_us = match self.settings.canary {
            Some(Canary::TrustWallClock) => (drifted + self.wall_offset_us).max(0) as u64,
            _ => self.time_us,
        };
        Now { mono_us, wall_us }
    }
}
