//! The clients' side of the world: asking, waiting, asking again, and what an answer teaches.

use cell::{Decided, Found, Level, Part, Query, Read, ReadReply, Rejected, Reply};
use machine::{Body, Command, Control, Record};
use words::{Position, Stamp, TransferId};

use super::{Doing, Event, Message, Payload, Request, World};
use crate::canary::Canary;
use crate::check::{Answered, ReadSeen};
use crate::client::{Action, Call, Kind, ReadCall, account_name};
use crate::faults::Fault;

/// How long a client waits beyond its deadline before it takes silence for an answer.
const GRACE_US: u64 = 20_000;

impl World {
    pub(super) fn step_client(&mut self, at: usize) {
        let (client, doing) = &mut self.clients[at];
        if !matches!(doing, Doing::Nothing) || self.healed {
            return;
        }
        let action = client.next();
        match action {
            Action::Write(state) => self.begin_write(at, state),
            Action::Read(read) => self.send_read(at, read),
            Action::Resolve => match self.left_to_a_person() {
                Some(call) => match self.clients[at].0.resolve(call) {
                    Action::Write(state) => self.begin_write(at, state),
                    _ => unreachable!("a decree is a write"),
                },
                None => self.rest(at),
            },
            Action::Lease => self.step_lease(at),
            Action::Control => match self.run_to_control() {
                Some((run, control)) => {
                    if matches!(control, Control::Restart { .. }) {
                        self.ledger.runs_asked.restarts.insert(run);
                    }
                    let state = self.clients[at].0.control(run, control);
                    self.begin_write(at, state);
                }
                None => self.rest(at),
            },
        }
    }

    pub(super) fn begin_write(&mut self, at: usize, state: Call) {
        self.next_id += 1;
        let call = state.again.unwrap_or(self.next_id);
        if let Some(promise) = state.promise {
            self.ledger.calls_made.promises.insert(state.key.clone(), promise);
        }
        if matches!(state.kind, Kind::Durable | Kind::Run) {
            self.clients[at].0.remember(call, &state);
        }
        self.send_write(at, call, state);
    }

    /// A call that waits for a person, as the list of uncertain ones has it.
    fn left_to_a_person(&mut self) -> Option<u64> {
        let now = self.now();
        let node = self.node.as_mut().filter(|_| self.paused_until_us <= now.mono_us)?;
        let query = Query::Uncertain { after: (Stamp::ZERO, 0), limit: 20 };
        let read = Read { level: Level::Eventual, deadline_us: now.mono_us, query };
        let (_, reply) = node.cell.read(read, 0, now).ok()??;
        let Ok(Found::Uncertain { calls, .. }) = reply.found else { return None };
        let mut escalated = calls.iter().filter(|call| call.view.is_escalated);
        escalated.next().map(|call| call.view.call)
    }

    pub(super) fn send_write(&mut self, at: usize, call: u64, mut state: Call) {
        state.attempts += 1;
        let request = self.request(
            at,
            call,
            Payload::Write {
                key: state.key.clone(),
                command: state.command.clone(),
                timeout_us: state.timeout_us,
                is_settle: state.settling,
                waits_for_end: state.waits_for_end,
            },
        );
        self.trace.line(
            self.time_us,
            format_args!("client {at} asks `{}` ({:?}, attempt {})", state.key, state.kind, state.attempts),
        );
        let patience_us = state.timeout_us + GRACE_US;
        self.transmit(request);
        if !state.key.is_empty() && self.swarm.strikes(Fault::DuplicateClient, 50) {
            let twin = self.requests[&request].clone();
            let twin = self.request(at, call, twin.payload);
            self.transmit(twin);
        }
        self.clients[at].1 = Doing::Write { call, state, request };
        self.after(patience_us, Event::Timeout { client: at, request });
    }

    pub(super) fn send_read(&mut self, at: usize, read: ReadCall) {
        let request = self.request(at, 0, Payload::Read(read));
        self.transmit(request);
        self.clients[at].1 = Doing::Read { request };
        self.after(500_000 + GRACE_US, Event::Timeout { client: at, request });
    }

    pub(super) fn request(&mut self, client: usize, call: u64, payload: Payload) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.requests.insert(id, Request { client, call, payload, invoked_us: self.time_us });
        id
    }

    pub(super) fn transmit(&mut self, request: u64) {
        if self.swarm.strikes(Fault::RequestLost, 60) {
            return;
        }
        let copies = if self.swarm.strikes(Fault::Duplicated, 40) { 2 } else { 1 };
        for _ in 0..copies {
            let delay_us = self.delay_us();
            self.after(delay_us, Event::ToServer { request });
        }
    }

    pub(super) fn delay_us(&mut self) -> u64 {
        let usual = self.network.u64(200..5_000);
        if self.swarm.strikes(Fault::Delayed, 50) { usual + self.network.u64(10_000..3_000_000) } else { usual }
    }

    pub(super) fn time_out(&mut self, at: usize, request: u64) {
        match std::mem::replace(&mut self.clients[at].1, Doing::Nothing) {
            Doing::Write { call, mut state, request: current } if current == request => {
                state.certainly_not_done = false;
                self.retry(at, call, state);
            }
            Doing::Read { request: current } if current == request => self.rest(at),
            other => self.clients[at].1 = other,
        }
    }

    /// Asks again under the same key, or settles it.
    pub(super) fn retry(&mut self, at: usize, call: u64, state: Call) {
        let client = &mut self.clients[at].0;
        let is_keyed = !state.key.is_empty();
        if self.settings.canary == Some(Canary::NewKeyOnRetry) && is_keyed && !state.settling {
            let state = client.another_key(&state);
            return self.send_write(at, call, state);
        }
        let gives_up = state.attempts >= 3 && is_keyed && !state.settling;
        let state = if gives_up { state.to_settle() } else { state };
        self.send_write(at, call, state);
    }

    pub(super) fn rest(&mut self, at: usize) {
        let think_us = self.clients[at].0.think_us();
        self.after(think_us, Event::Step { client: at });
    }

    pub(super) fn deliver(&mut self, message: u64) {
        match self.messages.remove(&message) {
            Some(Message::Write(request, reply)) => self.answered(request, reply),
            Some(Message::Read(request, reply)) => self.read_answered(request, reply),
            None => {}
        }
    }

    pub(super) fn answered(&mut self, id: u64, reply: Reply) {
        let Some(Request { client: at, call, payload, invoked_us }) = self.requests.get(&id).cloned() else { return };
        let Payload::Write { key, command, is_settle, .. } = payload else { return };
        let fingerprint = Command::decode(&command).expect("the client encoded it").fingerprint();
        self.note_sometimes(&reply, is_settle);
        self.ledger.answered.push(Answered {
            key,
            fingerprint,
            is_settle,
            invoked_us,
            answered_us: self.time_us,
            reply: reply.clone(),
        });
        if let Reply::Decided(decided) = &reply {
            let client = &mut self.clients[at].0;
            client.seen = client.seen.max(decided.seen);
        }
        let Doing::Write { call: current, mut state, .. } = self.clients[at].1.clone() else { return };
        if current != call {
            return;
        }
        match reply {
            Reply::Decided(decided) => {
                self.trace.line(
                    self.time_us,
                    format_args!("client {at} has the answer to `{}` at {}", state.key, decided.position),
                );
                if state.attempts > 1 && decided.replayed {
                    self.outcome.sometimes.replayed_after_loss = true;
                }
                self.learn(at, &decided);
                self.outcome.operations += 1;
                self.clients[at].1 = Doing::Nothing;
                self.rest(at);
            }
            Reply::Rejected(why) => {
                self.outcome.sometimes.turned_away_full |= why == Rejected::StorageFull;
                let is_first = state.again.is_none();
                let gives_up =
                    is_first && state.certainly_not_done && !state.settling && self.clients[at].0.chance(300);
                if gives_up && !state.key.is_empty() && !self.has_other_requests(call, id) {
                    self.clients[at].0.forget(&state.key);
                    self.ledger.not_done.push((state.key, fingerprint));
                    self.clients[at].1 = Doing::Nothing;
                    self.rest(at);
                    return;
                }
                // Time passes before the next attempt: the time-out of this one fires it.
                state.certainly_not_done &= true;
            }
            Reply::Pending { .. } => {
                self.trace.line(self.time_us, format_args!("client {at} hears that `{}` is accepted", state.key));
                self.outcome.sometimes.left_pending = true;
                self.outcome.operations += 1;
                self.clients[at].1 = Doing::Nothing;
                self.rest(at);
            }
            Reply::Uncertain => {
                state.certainly_not_done = false;
                self.outcome.sometimes.left_uncertain = true;
                if let Doing::Write { state: current, .. } = &mut self.clients[at].1 {
                    current.certainly_not_done = false;
                }
            }
        }
    }

    /// Whether a request of this call other than `id` was sent, so that silence about it proves nothing.
    pub(super) fn has_other_requests(&self, call: u64, id: u64) -> bool {
        self.requests.iter().any(|(other, request)| *other != id && request.call == call)
            || self.swarm.has(Fault::Duplicated)
    }

    pub(super) fn learn(&mut self, at: usize, decided: &Decided) {
        let ids: Vec<TransferId> = decided.answer.parts().filter_map(|part| moved_id(&part)).collect();
        for id in ids {
            self.clients[at].0.learn_transfer(id);
        }
        self.learn_lease(at, decided);
    }

    pub(super) fn note_sometimes(&mut self, reply: &Reply, is_settle: bool) {
        let sometimes = &mut self.outcome.sometimes;
        let Reply::Decided(decided) = reply else { return };
        sometimes.joined |= decided.joined;
        let Some(Ok(Some(record))) = decided.answer.first().map(|part| part.record()) else { return };
        match record.body {
            Body::Barred => sometimes.barred = true,
            Body::BatchRefused { .. } => sometimes.batch_refused = true,
            Body::Moved(_) if is_settle => sometimes.settled_as_committed = true,
            _ => {}
        }
    }

    pub(super) fn read_answered(&mut self, id: u64, reply: ReadReply) {
        let Some(Request { client: at, payload: Payload::Read(read), invoked_us, .. }) =
            self.requests.get(&id).cloned()
        else {
            return;
        };
        let found = match reply.found {
            Ok(Found::Account(account)) => Ok(account),
            Ok(other) => unreachable!("an account was asked for: {other:?}"),
            Err(error) => Err(error),
        };
        let is_answer = found.is_ok() || found == Err(cell::ReadError::AccountNotFound);
        if is_answer && reply.position != Position::START {
            self.outcome.reads += 1;
            self.outcome.sometimes.read_the_past |= matches!(read.level, cell::Level::At(_));
            self.ledger.reads.push(ReadSeen {
                account: account_name(read.account),
                level: read.level,
                invoked_us,
                answered_us: self.time_us,
                position: reply.position,
                found,
            });
        }
        if matches!(self.clients[at].1, Doing::Read { request } if request == id) {
            self.clients[at].1 = Doing::Nothing;
            self.rest(at);
        }
    }
}

fn moved_id(part: &Part<'_>) -> Option<TransferId> {
    match part.record() {
        Ok(Some(Record { body: Body::Moved(moved), .. })) => Some(moved.transfer),
        _ => None,
    }
}
