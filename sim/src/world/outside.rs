//! Outside the server: its outbox, the strangers it calls, and what a network does between them.

use cell::{Rejected, Reply, Work, Write};
use machine::{Finding, Phase};

use super::{Event, World};
use crate::calls::Sent;
use crate::canary::Canary;
use crate::faults::Fault;
use crate::outbox::{Attempt, Heard, Outbox, Report};
use crate::receiver::{Entered, Kind, Receiver, Request, Said};
use crate::runs::UNDOES;

/// How many strangers there are.
pub(super) const RECEIVERS: usize = 3;
/// How long the outbox waits for the cell to take a result before it submits it again.
const REPORT_AGAIN_US: u64 = 20_000;
const REPORT_TIMEOUT_US: u64 = 2_000_000;
/// The longest one attempt at settling what is uncertain waits for an answer here; the machine would let it wait longer.
const PATIENCE_US: u64 = 1_500_000;

/// What happens outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outside {
    /// A request reaches its receiver.
    Arrive { flight: u64 },
    /// A receiver commits what it was at work on.
    Commit { flight: u64, receiver_life: u64 },
    /// An answer reaches the outbox.
    Answer { life: u64, attempt: u64, request: u64, said: Said },
    /// An attempt's time is over.
    GiveUp { life: u64, attempt: u64 },
    /// A try that certainly did nothing is made again.
    TryAgain { life: u64, attempt: u64 },
    /// A result is submitted again.
    Report { life: u64, report: u64 },
    /// A receiver's luck changes.
    Fortune,
    /// A receiver comes back.
    Up { receiver: usize },
    /// A step of a run is computed.
    Computed { life: u64, id: u64 },
    /// An event reaches a receiver.
    Carried { parcel: u64 },
    /// An attempt at a delivery is over.
    Delivered { life: u64, subscription: u64, delivery: u64, done: bool },
    /// What came of deliveries is in the log.
    Confirmed { life: u64, subscription: u64 },
    /// The luck of a receiver of events changes.
    HookFortune,
}

/// A request on its way, and to whom its answer goes.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    request: Request,
    life: u64,
    attempt: u64,
}

impl Outside {
    /// Whether it happens in the server's process, which may stand still.
    pub(super) const fn is_in_server(self) -> bool {
        !matches!(
            self,
            Self::Arrive { .. }
                | Self::Commit { .. }
                | Self::Fortune
                | Self::Up { .. }
                | Self::Carried { .. }
                | Self::HookFortune
        )
    }
}

impl World {
    pub(super) fn open_receivers(&mut self) {
        let kinds = [Kind::Inbox, Kind::Keyed, Kind::Plain];
        self.receivers = kinds.map(|kind| Receiver::new(kind, self.settings.seed)).into();
        self.ledger.calls_made.kinds = kinds.into();
        if self.swarm.strikes(Fault::ReceiverGone, 1_000) {
            self.receivers[self.outside.usize(..RECEIVERS)].is_down = true;
        }
        self.after(300_000, Event::Outside(Outside::Fortune));
    }

    pub(super) fn handle_outside(&mut self, event: Outside) -> Result<(), String> {
        match event {
            Outside::Arrive { flight } => self.arrive(flight),
            Outside::Commit { flight, receiver_life } => self.commit(flight, receiver_life),
            Outside::Fortune => self.change_fortune(),
            Outside::Up { receiver } => self.receivers[receiver].is_down = false,
            Outside::Answer { life, attempt, request, said } if life == self.life => {
                return self.hear(attempt, request, said);
            }
            Outside::GiveUp { life, attempt } if life == self.life => return self.give_up(attempt),
            Outside::TryAgain { life, attempt } if life == self.life => self.try_request(attempt),
            Outside::Report { life, report } if life == self.life => return self.report_again(report),
            Outside::Carried { parcel } => self.carried(parcel),
            Outside::HookFortune => self.change_hook_fortune(),
            Outside::Computed { life, id } if life == self.life => self.computed(id),
            Outside::Delivered { life, subscription, delivery, done } if life == self.life => {
                return self.delivered(subscription, delivery, done);
            }
            Outside::Confirmed { life, subscription } if life == self.life => {
                if let Some(courier) = self.outbox.couriers.get_mut(&subscription) {
                    courier.confirm();
                }
                return self.drive_courier(subscription);
            }
            // Of a life that is over.
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing is on its way any more.
    pub(super) fn outside_is_quiet(&self) -> bool {
        let Some(node) = &self.node else { return false };
        let machine = node.cell.machine();
        if !self.flights.is_empty() || !self.outbox.reports.is_empty() {
            return false;
        }
        if self.has_workflows() && !self.workflows_are_quiet() {
            return false;
        }
        machine.calls_len() == 0
            || machine.uncertain((words::Stamp::ZERO, 0), usize::MAX).iter().filter(|call| call.is_escalated).count()
                as u64
                == machine.calls_len()
    }

    /// The server's process has ended, and its outbox with it.
    pub(super) fn lose_outbox(&mut self) {
        self.outcome.sometimes.claimed_while_trying |= !self.outbox.attempts.is_empty();
        self.outbox = Outbox::new(RECEIVERS);
        self.waits.clear();
    }

    pub(super) fn perform(&mut self, work: Work) -> Result<(), String> {
        let (call, attempt, phase, remaining_us, accepted) = match work {
            Work::Try { call, attempt, phase, remaining_us, accepted } => {
                (call, attempt, phase, remaining_us, accepted)
            }
            Work::Deliver { subscription } => return self.ring_courier(subscription),
            Work::Evaluate(asked) => {
                self.perform_evaluation(asked);
                return Ok(());
            }
            Work::Abandon => {
                self.lose_outbox();
                return Ok(());
            }
        };
        self.next_id += 1;
        let id = self.next_id;
        let mut performed = Attempt::of(call, attempt, phase, &accepted);
        self.trace.line(self.time_us, format_args!("attempt {attempt} at `{}`: {phase:?}", performed.key));
        if remaining_us == 0 {
            return self.report(&performed, Finding::NotDone);
        }
        if attempt <= 1 {
            self.outbox.first(performed.receiver, self.time_us);
        } else if !self.take_turn(id, &performed) {
            self.outcome.sometimes.unasked = true;
            return self.report(&performed, Finding::Unasked);
        }
        self.note_phase(phase);
        let patience_us = match phase {
            Phase::Call => remaining_us,
            Phase::Resend | Phase::Probe | Phase::Compensate => remaining_us.min(PATIENCE_US),
        };
        if self.settings.canary == Some(Canary::BlindCompensation) && performed.can_compensate {
            self.outbox.attempts.insert(id, Attempt { phase: Phase::Compensate, ..performed.clone() });
            self.try_request(id);
        }
        if self.settings.canary == Some(Canary::UndoWhileUncertain) && phase == Phase::Resend {
            let key = format!("{}{UNDOES}", performed.key);
            self.outbox.attempts.insert(id, Attempt { phase: Phase::Call, key, ..performed.clone() });
            self.try_request(id);
        }
        performed.is_in_turn = attempt > 1;
        self.outbox.attempts.insert(id, performed);
        self.try_request(id);
        self.after(patience_us, Event::Outside(Outside::GiveUp { life: self.life, attempt: id }));
        Ok(())
    }

    /// Whether a later attempt may be made. Nobody waits for a turn here: the machine has it come again.
    fn take_turn(&mut self, id: u64, performed: &Attempt) -> bool {
        let request = self.ledger.calls_made.sent.len() as u64;
        self.outbox.take_turn(id, performed.receiver, request, self.time_us)
            || self.settings.canary == Some(Canary::TurnNotTaken)
    }

    fn note_phase(&mut self, phase: Phase) {
        let sometimes = &mut self.outcome.sometimes;
        match phase {
            Phase::Call => sometimes.called = true,
            Phase::Resend => sometimes.resent = true,
            Phase::Probe => sometimes.probed = true,
            Phase::Compensate => sometimes.compensating = true,
        }
    }

    fn try_request(&mut self, id: u64) {
        let Some(attempt) = self.outbox.attempts.get_mut(&id) else { return };
        let request_id = self.ledger.calls_made.sent.len() as u64;
        attempt.tries += 1;
        attempt.waits_for = Some(request_id);
        let forgets_key = self.settings.canary == Some(Canary::ResendWithoutKey) && attempt.phase == Phase::Resend;
        let request = Request {
            receiver: attempt.receiver,
            key: if forgets_key { String::new() } else { attempt.key.clone() },
            operation: attempt.key.clone(),
            phase: attempt.phase,
            id: request_id,
            is_copy: false,
        };
        let is_in_turn = std::mem::take(&mut attempt.is_in_turn);
        let sent = Sent {
            operation: attempt.key.clone(),
            receiver: attempt.receiver,
            phase: attempt.phase,
            time_us: self.time_us,
            index: self.node.as_ref().map_or(0, |node| node.cell.machine().position().index),
            life: self.life,
            retry_granted_us: attempt.retry_granted_us,
            is_in_turn,
            given_back_us: None,
            was_taken_on: false,
        };
        self.outcome.sometimes.retried |= sent.retry_granted_us.is_some();
        self.ledger.calls_made.sent.push(sent);
        if self.swarm.strikes(Fault::CallLost, 80) {
            return;
        }
        self.fly(Flight { request, life: self.life, attempt: id });
    }

    fn fly(&mut self, flight: Flight) {
        let delay_us = self.outside_delay_us();
        self.next_id += 1;
        self.flights.insert(self.next_id, flight);
        self.after(delay_us, Event::Outside(Outside::Arrive { flight: self.next_id }));
    }

    fn outside_delay_us(&mut self) -> u64 {
        let usual = self.outside.u64(300..8_000);
        let late = self.swarm.strikes(Fault::CallDelayed, 160);
        if late { usual + self.outside.u64(20_000..4_000_000) } else { usual }
    }

    fn arrive(&mut self, id: u64) {
        let Some(flight) = self.flights.get(&id).cloned() else { return };
        let request = &flight.request;
        let receiver = &mut self.receivers[request.receiver];
        if receiver.is_down {
            self.flights.remove(&id);
            return self.say(&flight, Said::Down);
        }
        if !request.is_copy && self.swarm.strikes(Fault::ReceiverSheds, 80) {
            self.flights.remove(&id);
            return self.say(&flight, Said::Shed);
        }
        // What goes between sends again what it heard no answer to, and never what was turned away.
        if !request.is_copy && self.swarm.strikes(Fault::CallRepeated, 80) {
            let request = Request { is_copy: true, ..request.clone() };
            self.fly(Flight { request, ..flight.clone() });
        }
        let request = &flight.request;
        if !request.is_copy && matches!(request.phase, Phase::Call | Phase::Resend) {
            self.ledger.calls_made.sent[request.id as usize].was_taken_on = true;
        }
        if self.swarm.strikes(Fault::ReceiverBusy, 50) {
            self.flights.remove(&id);
            return self.say(&flight, Said::StillAtIt);
        }
        let receiver = &mut self.receivers[request.receiver];
        let entered = receiver.enter(request);
        self.outcome.sometimes.late_after_bar |= receiver.turned_away_barred;
        match entered {
            Entered::Said(said) => {
                self.flights.remove(&id);
                self.say(&flight, said);
            }
            Entered::Execute => {
                let receiver_life = receiver.life;
                let slow = self.swarm.strikes(Fault::ReceiverSlow, 120);
                let work_us = if slow { self.outside.u64(30_000..3_000_000) } else { self.outside.u64(100..2_000) };
                self.after(work_us, Event::Outside(Outside::Commit { flight: id, receiver_life }));
            }
        }
    }

    fn commit(&mut self, id: u64, receiver_life: u64) {
        let Some(flight) = self.flights.remove(&id) else { return };
        let receiver = &mut self.receivers[flight.request.receiver];
        if receiver.life != receiver_life {
            return;
        }
        let said = receiver.execute(&flight.request, self.time_us);
        self.trace.line(self.time_us, format_args!("`{}` is executed: {said:?}", flight.request.operation));
        self.say(&flight, said);
    }

    /// Answers, if anybody hears it: whoever sent a copy waits for the first answer only.
    fn say(&mut self, flight: &Flight, said: Said) {
        let is_lost = said != Said::Down && self.swarm.strikes(Fault::AnswerLost, 100);
        if flight.request.is_copy || is_lost {
            return;
        }
        let delay_us = self.outside_delay_us();
        let Flight { life, attempt, ref request } = *flight;
        let answer = Outside::Answer { life, attempt, request: request.id, said };
        self.after(delay_us, Event::Outside(answer));
    }

    fn hear(&mut self, id: u64, request: u64, said: Said) -> Result<(), String> {
        let waits = self.outbox.attempts.get(&id).is_some_and(|attempt| attempt.waits_for == Some(request));
        if !waits {
            return Ok(());
        }
        let jitter = self.outside.u64(..);
        match self.outbox.hear(id, said, self.time_us, jitter, self.settings.canary) {
            Heard::Again { in_us } => {
                self.after(in_us, Event::Outside(Outside::TryAgain { life: self.life, attempt: id }));
                Ok(())
            }
            Heard::Over(finding) => self.conclude(id, finding),
        }
    }

    fn give_up(&mut self, id: u64) -> Result<(), String> {
        let Some(attempt) = self.outbox.attempts.get(&id) else { return Ok(()) };
        let finding = if attempt.waits_for.is_some() { Finding::Uncertain } else { Finding::NotDone };
        self.conclude(id, finding)
    }

    fn conclude(&mut self, id: u64, finding: Finding) -> Result<(), String> {
        let Some(attempt) = self.outbox.attempts.remove(&id) else { return Ok(()) };
        if let Some(request) = self.outbox.end_turn(id, &attempt, finding) {
            self.ledger.calls_made.sent[request as usize].given_back_us = Some(self.time_us);
        }
        if self.swarm.strikes(Fault::ResultForgotten, 15) {
            return Ok(());
        }
        self.report(&attempt, finding)
    }

    fn report(&mut self, attempt: &Attempt, finding: Finding) -> Result<(), String> {
        let retry_after_ms = if finding == Finding::NotDone && self.outside.u8(..) < 32 { 400 } else { 0 };
        self.submit_report(Report::of(attempt.report(finding, retry_after_ms)), 0);
        Ok(())
    }

    /// Submits a result, for the first time or again: it is taken once, and of no consequence after that.
    fn report_again(&mut self, report: u64) -> Result<(), String> {
        let now = self.now();
        let Some(Report { command, .. }) = self.outbox.reports.get(&report).cloned() else { return Ok(()) };
        let Some(node) = &mut self.node else { return Ok(()) };
        let write = Write { command, deadline_us: now.mono_us + REPORT_TIMEOUT_US, waits_for_end: false };
        node.cell.submit(write, report, now).map_err(|fault| fault.to_string())?;
        self.pump()
    }

    /// What the cell said to a result. Says whether it was one.
    pub(super) fn is_report(&mut self, id: u64, reply: &Reply) -> bool {
        if !self.outbox.reports.contains_key(&id) {
            return false;
        }
        match reply {
            Reply::Rejected(Rejected::Stopping) => {}
            Reply::Rejected(_) | Reply::Uncertain => {
                let again = Outside::Report { life: self.life, report: id };
                self.after(REPORT_AGAIN_US, Event::Outside(again));
            }
            Reply::Decided(_) | Reply::Pending { .. } => {
                let report = self.outbox.reports.remove(&id);
                if let Some(subscription) = report.and_then(|report| report.confirms) {
                    let confirmed = Outside::Confirmed { life: self.life, subscription };
                    self.after(0, Event::Outside(confirmed));
                }
            }
        }
        true
    }

    fn change_fortune(&mut self) {
        if self.healed {
            return;
        }
        self.restart_unasked();
        let pause_us = self.outside.u64(100_000..1_200_000);
        self.after(pause_us, Event::Outside(Outside::Fortune));
        let at = self.outside.usize(..RECEIVERS);
        if self.swarm.strikes(Fault::ReceiverRestart, 250) {
            self.receivers[at].restart();
        } else if self.swarm.strikes(Fault::ReceiverDown, 250) && !self.receivers[at].is_down {
            self.receivers[at].restart();
            self.receivers[at].is_down = true;
            let down_us = self.outside.u64(50_000..4_000_000);
            self.after(down_us, Event::Outside(Outside::Up { receiver: at }));
        }
    }

    pub(super) fn heal_receivers(&mut self) {
        for receiver in &mut self.receivers {
            receiver.is_down = false;
        }
    }

    /// Hands what the receivers know to those who judge.
    pub(super) fn close_receivers(&mut self) {
        for receiver in std::mem::take(&mut self.receivers) {
            self.ledger.calls_made.executed.push(receiver.executed);
            self.ledger.calls_made.standing.push(receiver.standing);
        }
    }
}
