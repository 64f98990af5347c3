//! Sagas and events in the world: steps that are computed, events that are delivered, and people who control runs.

use std::collections::BTreeSet;

use cell::{Evaluation, Found, Level, Query, Read, TopicFound, TopicQuery, Work};
use fastrand::Rng;
use machine::{
    Archive, Ask, Body, Control, Op, Order, Record, RunEnd, RunState, SagaOp, SagaRecord, TOPIC_ESCALATIONS,
};
use words::{Amount, Stamp};

use super::outside::Outside;
use super::{Event, World};
use crate::canary::Canary;
use crate::client::{account_name, command};
use crate::courier::Courier;
use crate::evaluate::Evaluator;
use crate::events::EventsMade;
use crate::faults::Fault;
use crate::hook::{HOOKS, Hook, Parcel, SUBSCRIPTIONS, poison};
use crate::outbox::Report;

/// How long the outbox waits for a receiver of events.
const PATIENCE_US: u64 = 1_500_000;

/// How much longer a world may take to come to an end. With sagas: the longest deadline, and for each of a few steps what
/// it and its compensation may take, with their doubts. With events: all attempts at those of a key that
/// nobody takes, one after the other.
pub(super) const SAGAS_HEALING_US: u64 = 900_000_000;
pub(super) const EVENTS_HEALING_US: u64 = 120 * 3_600_000_000;

/// What a world with sagas or events has beside the others.
pub(super) struct Workflows {
    pub(super) has_sagas: bool,
    pub(super) has_events: bool,
    rng: Rng,
    evaluator: Evaluator,
    hooks: Vec<Hook>,
    parcels: std::collections::BTreeMap<u64, Flying>,
    /// The life whose claim was looked at.
    claimed_life: Option<u64>,
}

/// An event on its way, and who waits for what becomes of it.
#[derive(Clone, Debug)]
struct Flying {
    parcel: Parcel,
    hook: usize,
    life: u64,
    delivery: u64,
}

impl Workflows {
    /// Draws whether a world has sagas, and whether it has events.
    pub(super) fn draw(mut rng: Rng) -> Self {
        let (has_sagas, has_events) = (rng.u8(..4) == 0, rng.u8(..6) == 0);
        Self {
            has_sagas,
            has_events,
            rng,
            evaluator: Evaluator::default(),
            hooks: Vec::new(),
            parcels: std::collections::BTreeMap::new(),
            claimed_life: None,
        }
    }
}

impl World {
    pub(super) fn begin_workflows(&mut self) {
        let clients = self.clients.len();
        if self.workflows.has_sagas {
            let percent = self.workflows.rng.u32(15..60);
            self.clients.iter_mut().for_each(|(client, _)| client.begin_sagas(percent, clients));
        }
        if self.workflows.has_events {
            self.workflows.hooks = (0..HOOKS).map(|_| Hook::default()).collect();
            let percent = self.workflows.rng.u32(15..50);
            let has_poison = self.workflows.rng.u8(..3) == 0;
            for (client, _) in &mut self.clients {
                client.has_poison = has_poison;
                client.begin_events(percent, clients);
            }
            self.after(500_000, Event::Outside(Outside::HookFortune));
        }
    }

    /// Has a step computed, after a while.
    pub(super) fn perform_evaluation(&mut self, asked: Box<Evaluation>) {
        let Evaluation { run, step, attempt, ask, .. } = *asked;
        self.trace.line(self.time_us, format_args!("to be computed: run {run} step {step} attempt {attempt} {ask:?}"));
        let slow = self.swarm.strikes(Fault::CallDelayed, 30);
        let rng = &mut self.workflows.rng;
        let delay_us = if slow { rng.u64(500_000..15_000_000) } else { rng.u64(300..9_000) };
        self.next_id += 1;
        let id = self.next_id;
        self.outbox.evaluations.insert(id, asked);
        self.after(delay_us, Event::Outside(Outside::Computed { life: self.life, id }));
    }

    /// A step is computed: what it asks for is told, or never, or once more later.
    pub(super) fn computed(&mut self, id: u64) {
        let Some(asked) = self.outbox.evaluations.remove(&id) else { return };
        if self.swarm.strikes(Fault::ResultForgotten, 15) {
            return;
        }
        let command = self.workflows.evaluator.report(&asked, self.settings.canary);
        if self.swarm.strikes(Fault::CallRepeated, 40) {
            let delay_us = self.workflows.rng.u64(1_000..5_000_000);
            self.submit_report(Report::of(command.clone()), delay_us);
        }
        self.submit_report(Report::of(command), 0);
        if self.settings.canary == Some(Canary::StepTwice) && asked.ask == Ask::Act {
            self.do_twice(&asked);
        }
    }

    /// With the canary: what a step does is done once more, beside its run.
    fn do_twice(&mut self, asked: &Evaluation) {
        let Some(view) = self.node.as_ref().and_then(|node| node.cell.machine().run(asked.run)) else { return };
        // Steps are drawn with their numbers for ids.
        let key = format!("{}/s{}/again", view.id, asked.step);
        let (from, to) = (account_name(0), account_name(1));
        let amount = Amount::new(1).expect("it is one");
        let order = Order { from: &from, to: &to, amount, hold_ms: None, memo: "", metadata: "" };
        let command = command(&key, &Op::Transfer(order));
        self.submit_report(Report::of(command), 0);
    }

    /// Submits a result to the cell, again and again until it is taken.
    pub(super) fn submit_report(&mut self, report: Report, delay_us: u64) {
        self.next_id += 1;
        let id = self.next_id;
        self.outbox.reports.insert(id, report);
        self.after(delay_us, Event::Outside(Outside::Report { life: self.life, report: id }));
    }

    /// What a claim has taken up: all that is open is under way at once, or has its time.
    pub(super) fn check_claim(&mut self, work: &mut Vec<Work>, has_applied: bool) -> Result<(), String> {
        if !has_applied || self.workflows.claimed_life == Some(self.life) {
            return Ok(());
        }
        self.workflows.claimed_life = Some(self.life);
        if self.settings.canary == Some(Canary::ClaimIsIdle) {
            work.clear();
        }
        let Some(node) = &self.node else { return Ok(()) };
        let machine = node.cell.machine();
        let begun: BTreeSet<(u64, u32, u32, u8)> = work.iter().filter_map(evaluation_of).collect();
        let open = machine.open_evaluations();
        self.outcome.sometimes.claimed_while_computing |= self.life > 0 && !open.is_empty();
        if let Some(left) =
            open.iter().find(|(run, step, attempt, ask)| !begun.contains(&(*run, *step, *attempt, *ask as u8)))
        {
            return Err(format!("after a claim nobody computes {left:?}"));
        }
        let tried = |call: u64| work.iter().any(|work| matches!(work, Work::Try { call: of, .. } if *of == call));
        let calls = machine.uncertain((Stamp::ZERO, 0), usize::MAX);
        if let Some(left) = calls.iter().find(|c| c.next_attempt.is_none() && !c.is_escalated && !tried(c.call)) {
            return Err(format!("after a claim nobody tries call {}", left.call));
        }
        let rung = |number: u64| work.contains(&Work::Deliver { subscription: number });
        match machine.active_subscriptions().into_iter().find(|number| !rung(*number)) {
            Some(left) => Err(format!("after a claim nobody delivers for subscription {left}")),
            None => Ok(()),
        }
    }

    /// Whether all runs have ended, and all events are where they are to be.
    pub(super) fn workflows_are_quiet(&self) -> bool {
        let Some(node) = &self.node else { return false };
        let machine = node.cell.machine();
        if machine.runs_len() > 0 || !self.outbox.evaluations.is_empty() || !self.workflows.parcels.is_empty() {
            return false;
        }
        machine.active_subscriptions().into_iter().all(|number| {
            let Some(courier) = self.outbox.couriers.get(&number) else { return false };
            let ask = courier.window.ask();
            let has_more = || {
                let found = machine.next_deliveries(node.cell.archive(), number, ask.from, 1);
                found.is_ok_and(|found| found.is_some_and(|found| !found.ready.is_empty() || !found.fresh.is_empty()))
            };
            let is_parked = |wanted: &str| {
                machine.subscription(wanted).is_some_and(|view| view.number == number && view.parked > 0)
            };
            courier.is_idle() && !SUBSCRIPTIONS.iter().any(|wanted| is_parked(wanted.name)) && !has_more()
        })
    }

    /// How many runs are open, for who wonders why it does not end.
    pub(super) fn open_workflows(&self) -> Option<String> {
        let machine = self.node.as_ref()?.cell.machine();
        let open: Vec<u64> = machine.runs(None, None, 0, 9).items.iter().map(|run| run.run).collect();
        (!open.is_empty()).then(|| format!("the runs {open:?} are still open after healing"))
    }

    /// A run that somebody may want to control, and how.
    pub(super) fn run_to_control(&mut self) -> Option<(u64, Control)> {
        let now = self.now();
        let rng = &mut self.workflows.rng;
        let node = self.node.as_ref().filter(|_| self.paused_until_us <= now.mono_us)?;
        let machine = node.cell.machine();
        if rng.u8(..3) == 0 {
            let escalated = escalated(machine, node.cell.archive());
            let run = *rng.choice(&escalated)?;
            return Some((run, Control::Restart { step: rng.u32(..4) }));
        }
        let state = *rng.choice(&RunState::ALL)?;
        let runs = machine.runs(Some(state), None, 0, 20).items;
        let run = rng.choice(&runs)?.run;
        let control = *rng.choice(&[Control::Cancel, Control::Cancel, Control::Pause, Control::Resume])?;
        Some((run, control))
    }

    /// With the canary: a run that was escalated is restarted, and nobody asked for it.
    pub(super) fn restart_unasked(&mut self) {
        let canary = self.settings.canary == Some(Canary::RestartUnasked);
        let Some(node) = self.node.as_ref().filter(|_| canary) else { return };
        let escalated = escalated(node.cell.machine(), node.cell.archive());
        let not_asked = escalated.into_iter().find(|run| !self.ledger.runs_asked.restarts.contains(run));
        let Some(run) = not_asked else { return };
        let op = Op::Saga(SagaOp::Control { run, control: Control::Restart { step: 0 } });
        let command = command(&format!("nobody-{}", self.next_id), &op);
        self.submit_report(Report::of(command), 0);
    }

    /// There may be something to deliver.
    pub(super) fn ring_courier(&mut self, subscription: u64) -> Result<(), String> {
        self.outbox.couriers.entry(subscription).or_insert_with(|| Courier::new(subscription)).ring();
        self.drive_courier(subscription)
    }

    /// Sends what may be sent, tells what is to be told, and asks for more.
    pub(super) fn drive_courier(&mut self, subscription: u64) -> Result<(), String> {
        let canary = self.settings.canary;
        loop {
            let now = self.now();
            let Some(courier) = self.outbox.couriers.get_mut(&subscription) else { return Ok(()) };
            if let Some(delivery) = courier.start() {
                self.next_id += 1;
                courier.under_way.insert(self.next_id, (delivery.generation, delivery.event.offset));
                let id = self.next_id;
                self.send_event(subscription, id, &delivery.event)?;
                continue;
            }
            if let Some(command) = courier.report() {
                self.submit_report(Report { command, confirms: Some(subscription) }, 0);
            }
            let Some(courier) = self.outbox.couriers.get_mut(&subscription) else { return Ok(()) };
            let Some(ask) = courier.ask() else { return Ok(()) };
            let Some(node) = &mut self.node else { return Ok(()) };
            let query = Query::Topics(TopicQuery::Deliveries { subscription, from: ask.from, limit: ask.limit });
            let read = Read { level: Level::Eventual, deadline_us: now.mono_us + 1, query };
            let answered = node.cell.read(read, 0, now).map_err(|fault| fault.to_string())?;
            let Some((_, reply)) = answered else { return Err("the cell does not say what to deliver".to_owned()) };
            let Ok(Found::Topics(TopicFound::Deliveries(found))) = reply.found else {
                return Err(format!("the cell says of deliveries: {:?}", reply.found));
            };
            courier.take(ask, found.map(|found| *found), canary);
        }
    }

    fn send_event(&mut self, subscription: u64, delivery: u64, event: &machine::EventRecord) -> Result<(), String> {
        let record = Record::decode(&event.record).map_err(|error| error.to_string())?;
        let Some(envelope) = machine::Envelope::of(&record) else { return Err("an event that is none".to_owned()) };
        let parcel = Parcel {
            subscription,
            key: envelope.key.to_owned(),
            offset: event.offset,
            is_poison: envelope.kind == poison(),
            is_copy: false,
        };
        let hook = usize::try_from(subscription).unwrap_or(0) % HOOKS;
        self.trace.line(self.time_us, format_args!("event {} is sent for {subscription}", event.offset));
        self.after(
            PATIENCE_US,
            Event::Outside(Outside::Delivered { life: self.life, subscription, delivery, done: false }),
        );
        if !self.swarm.strikes(Fault::CallLost, 60) {
            self.fly_event(Flying { parcel, hook, life: self.life, delivery });
        }
        Ok(())
    }

    fn fly_event(&mut self, flying: Flying) {
        let late = self.swarm.strikes(Fault::CallDelayed, 100);
        let rng = &mut self.workflows.rng;
        let delay_us = rng.u64(300..6_000) + if late { rng.u64(20_000..4_000_000) } else { 0 };
        self.next_id += 1;
        self.workflows.parcels.insert(self.next_id, flying);
        self.after(delay_us, Event::Outside(Outside::Carried { parcel: self.next_id }));
    }

    /// An event reaches its hook.
    pub(super) fn carried(&mut self, id: u64) {
        let Some(flying) = self.workflows.parcels.remove(&id) else { return };
        let Flying { ref parcel, hook, life, delivery } = flying;
        if !parcel.is_copy && self.swarm.strikes(Fault::CallRepeated, 60) {
            let parcel = Parcel { is_copy: true, ..parcel.clone() };
            self.fly_event(Flying { parcel, ..flying.clone() });
        }
        let sheds = self.swarm.strikes(Fault::ReceiverSheds, 60);
        let hook = &mut self.workflows.hooks[hook];
        let done = !hook.is_down && !sheds && hook.receive(parcel, self.time_us, self.settings.canary);
        self.outcome.sometimes.event_known |= hook.knew;
        if parcel.is_copy || self.swarm.strikes(Fault::AnswerLost, 80) {
            return;
        }
        let delay_us = self.workflows.rng.u64(300..6_000);
        let subscription = parcel.subscription;
        self.after(delay_us, Event::Outside(Outside::Delivered { life, subscription, delivery, done }));
    }

    /// An attempt at a delivery is over, if it was not already.
    pub(super) fn delivered(&mut self, subscription: u64, delivery: u64, done: bool) -> Result<(), String> {
        let breaks = self.swarm.strikes(Fault::ResultForgotten, 5);
        let Some(courier) = self.outbox.couriers.get_mut(&subscription) else { return Ok(()) };
        if breaks {
            courier.under_way.remove(&delivery);
            courier.break_down();
        } else {
            courier.finish(delivery, done);
        }
        self.drive_courier(subscription)
    }

    /// Now and then a hook is away for a while.
    pub(super) fn change_hook_fortune(&mut self) {
        if self.healed {
            return;
        }
        let at = self.workflows.rng.usize(..HOOKS);
        let is_up = self.workflows.rng.bool();
        let falls = !is_up && self.swarm.strikes(Fault::ReceiverDown, 400);
        if let Some(hook) = self.workflows.hooks.get_mut(at) {
            hook.is_down = falls;
        }
        let pause_us = self.workflows.rng.u64(100_000..1_500_000);
        self.after(pause_us, Event::Outside(Outside::HookFortune));
    }

    pub(super) fn heal_hooks(&mut self) {
        self.workflows.hooks.iter_mut().for_each(|hook| hook.is_down = false);
    }

    /// Hands what the hooks did, and how far topics and subscriptions are, to those who judge.
    pub(super) fn close_hooks(&mut self) {
        let mut made = EventsMade::default();
        for hook in std::mem::take(&mut self.workflows.hooks) {
            made.effects.extend(hook.effects);
        }
        if let Some(node) = &self.node {
            let machine = node.cell.machine();
            let views = machine.subscriptions("", usize::MAX).into_iter();
            made.resting = views.filter(|view| view.rests.is_some()).map(|view| view.number).collect();
            let topics = machine.topics("", usize::MAX).into_iter();
            made.floors = topics.map(|topic| (topic.name.to_string(), topic.floor)).collect();
        }
        self.ledger.events_made = made;
    }
}

fn evaluation_of(work: &Work) -> Option<(u64, u32, u32, u8)> {
    match work {
        Work::Evaluate(asked) => Some((asked.run, asked.step, asked.attempt, asked.ask as u8)),
        _ => None,
    }
}

/// The runs that were ever escalated, as the topic of escalations has them.
fn escalated(machine: &machine::Machine, archive: &impl Archive) -> Vec<u64> {
    let Ok(Some(page)) = machine.topic_page(archive, TOPIC_ESCALATIONS, 0, usize::MAX) else { return Vec::new() };
    let run_of = |bytes: &Vec<u8>| match Record::decode(bytes).ok()?.body {
        Body::Saga(SagaRecord::Ended { run, end: RunEnd::Escalated, .. }) => Some(run),
        _ => None,
    };
    let all: BTreeSet<u64> = page.events.iter().filter_map(|event| run_of(&event.record)).collect();
    all.into_iter().collect()
}
