//! The server's side of the world: requests in, appends and house-keeping that take time, answers out.

use cell::{Found, Query, Read, ReadReply, Rejected, Write};
use log::Append;
use machine::Command;
use words::Position;

use super::{Event, Message, Payload, World};
use crate::canary::Canary;
use crate::check::{Asked, Logged};
use crate::client::account_name;
use crate::faults::Fault;
use crate::node::Pumped;

/// How long after its deadline whoever waits may still have to wait, in microseconds: deadlines are looked at that often.
const ANSWER_LATE_US_MAX: u64 = 6_000;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// When it ends, in true time: the latest, if a request arrived more than once.
    until_us: u64,
    /// How many answers are owed.
    owed: u32,
}

impl World {
    pub(super) fn receive(&mut self, id: u64) -> Result<(), String> {
        let now = self.now();
        let Some(request) = self.requests.get(&id).cloned() else { return Ok(()) };
        let Some(node) = &mut self.node else { return Ok(()) };
        match request.payload {
            Payload::Write { key, command, timeout_us, is_settle, waits_for_end } => {
                let deadline_us = match self.settings.canary {
                    Some(Canary::ForgetDeadline) => u64::MAX / 2,
                    _ => now.mono_us + timeout_us,
                };
                if !is_settle && request.call != 0 {
                    let fingerprint = Command::decode(&command).expect("the client encoded it").fingerprint();
                    let asked = self.ledger.calls.entry(request.call).or_insert_with(|| Asked {
                        keys: Vec::new(),
                        fingerprint,
                        deadline_us: 0,
                    });
                    asked.deadline_us = asked.deadline_us.max(self.time_us + timeout_us);
                    if !key.is_empty() && !asked.keys.contains(&key) {
                        asked.keys.push(key);
                    }
                }
                let patience = self.waits.entry(id).or_insert(Patience { until_us: 0, owed: 0 });
                patience.until_us = self.time_us + timeout_us;
                patience.owed += 1;
                node.cell
                    .submit(Write { command, deadline_us, waits_for_end }, id, now)
                    .map_err(|fault| fault.to_string())?;
            }
            Payload::Read(read) => {
                let query = Query::Account { id: account_name(read.account) };
                let read = Read { level: read.level, deadline_us: now.mono_us + 500_000, query };
                if let Some((id, reply)) = node.cell.read(read, id, now).map_err(|fault| fault.to_string())? {
                    self.reply_read(id, reply);
                }
            }
        }
        self.pump()
    }

    pub(super) fn pump(&mut self) -> Result<(), String> {
        let (now, time_us, life) = (self.now(), self.time_us, self.life);
        let answer_early = self.settings.canary == Some(Canary::AnswerBeforeDurable) && self.chance.u32(0..4) == 0;
        let Some(node) = &mut self.node else { return Ok(()) };
        let mut pumped = node.pump(now, time_us, answer_early)?;
        if node.told_early && pumped.append_begun {
            let more = node.pump(now, time_us, false)?;
            pumped.replies.extend(more.replies);
            pumped.applied.extend(more.applied);
            pumped.reads.extend(more.reads);
        }
        let waits = node.cell.is_appending() || node.cell.has_waiting_reads();
        let is_full = node.cell.is_storage_full();
        // With a bug planted the cell may have been told of an append that is still under way.
        let is_appending = node.cell.is_appending() || node.appending.is_some();
        let stands_still = self.settings.canary == Some(Canary::NoTimers);
        let timer_us = node.cell.timer_due_in_us(now).filter(|_| !is_appending && !is_full && !stands_still);
        let pending_us = node.cell.pending_due_in_us(now);
        let has_house_work = node.has_house_work();
        self.outcome.sometimes.hold_expired |= node.cell.status().counters.expired_holds > 0;
        if pumped.append_begun {
            self.begin_append();
        }
        if has_house_work && !self.house_is_busy {
            self.house_is_busy = true;
            let delay_us = self.disk_rng.u64(500..20_000);
            self.after(delay_us, Event::HouseEnd { life });
        }
        let due_us = timer_us.into_iter().chain(pending_us).min();
        let poll_in_us = due_us.map_or(u64::MAX, |due| due.max(1)).min(if waits {
            5_000
        } else if is_full {
            100_000
        } else {
            u64::MAX
        });
        let poll_us = time_us.saturating_add(poll_in_us);
        if poll_us < self.next_poll_us {
            self.next_poll_us = poll_us;
            self.at(poll_us, Event::Poll { life });
        }
        if self.has_workflows() {
            self.check_claim(&mut pumped.work, !pumped.applied.is_empty())?;
        }
        self.hand_out(pumped)
    }

    pub(super) fn hand_out(&mut self, pumped: Pumped) -> Result<(), String> {
        for (position, digest) in pumped.applied {
            self.ledger.digests.insert(position.index, digest);
        }
        let mut replies = pumped.replies;
        replies.retain(|(request, reply)| !self.is_report(*request, reply));
        if self.settings.canary == Some(Canary::SwapAnswers) && replies.len() > 1 {
            let (first, rest) = replies.split_first_mut().expect("there are two");
            std::mem::swap(&mut first.1, &mut rest[0].1);
        }
        for (request, reply) in replies {
            self.check_patience(request);
            self.send_back(Message::Write(request, reply));
        }
        for (request, reply) in pumped.reads {
            self.reply_read(request, reply);
        }
        pumped.work.into_iter().try_for_each(|work| self.perform(work))
    }

    /// Whoever waits has an answer by the deadline, or a little after it.
    fn check_patience(&mut self, request: u64) {
        let Some(patience) = self.waits.get_mut(&request) else { return };
        patience.owed = patience.owed.saturating_sub(1);
        let until_us = patience.until_us.max(self.paused_until_us) + ANSWER_LATE_US_MAX;
        if patience.owed == 0 {
            self.waits.remove(&request);
        }
        if self.time_us > until_us {
            let late_us = self.time_us - until_us;
            self.note_late(format!("request {request} had its answer {late_us} us late"));
        }
    }

    fn note_late(&mut self, what: String) {
        // These bugs make answers late too; they are to be found by what they are.
        let is_expected = matches!(self.settings.canary, Some(Canary::AnswerBeforeDurable | Canary::ForgetDeadline));
        if !is_expected {
            self.ledger.late.get_or_insert(what);
        }
    }

    /// Nobody's answer is overdue.
    pub(super) fn check_nobody_waits(&mut self) {
        let overdue = self.waits.iter().filter(|(_, p)| p.until_us + ANSWER_LATE_US_MAX < self.time_us);
        if let Some(request) = overdue.map(|(request, _)| request).min() {
            self.note_late(format!("request {request} never had an answer"));
        }
    }

    pub(super) fn reply_read(&mut self, request: u64, mut reply: ReadReply) {
        if self.settings.canary == Some(Canary::StaleRead) {
            let account = match &self.requests[&request].payload {
                Payload::Read(read) if matches!(read.level, cell::Level::Linearizable) => read.account,
                _ => return self.send_back(Message::Read(request, reply)),
            };
            let fresh = ReadReply {
                position: reply.position,
                staleness_ms: 0,
                found: match &reply.found {
                    Ok(Found::Account(account)) => Ok(Found::Account(account.clone())),
                    _ => Err(cell::ReadError::AccountNotFound),
                },
            };
            let earlier = self.last_read.insert(account, fresh);
            if let Some(earlier) = earlier.filter(|_| self.chance.bool()) {
                // It claims the position of the fresh one.
                reply = ReadReply { position: reply.position, ..earlier };
            }
        }
        self.send_back(Message::Read(request, reply));
    }

    pub(super) fn send_back(&mut self, message: Message) {
        if self.swarm.strikes(Fault::ReplyLost, 80) {
            return;
        }
        self.next_id += 1;
        let id = self.next_id;
        self.messages.insert(id, message);
        let delay_us = self.delay_us();
        self.after(delay_us, Event::ToClient { message: id });
    }

    pub(super) fn begin_append(&mut self) {
        let usual = self.disk_rng.u64(80..1_500);
        let slow = self.swarm.strikes(Fault::SlowSync, 8);
        let delay_us = if slow { self.disk_rng.u64(100_000..4_000_000) } else { usual };
        self.after(delay_us, Event::AppendEnd { life: self.life });
    }

    pub(super) fn end_append(&mut self) -> Result<(), String> {
        if self.swarm.strikes(Fault::SyncError, 3) {
            self.disk.fail_sync_after(0);
        }
        let Some(node) = &mut self.node else { return Ok(()) };
        let Some((entry, begun_us)) = node.appending.take() else { return Ok(()) };
        let result = node.append(&entry);
        let told_early = std::mem::take(&mut node.told_early);
        match result {
            Append::Ok(position) => {
                self.ledger.log.push(Logged { position, entry: entry.clone(), begun_us });
                if !told_early {
                    node.cell.appended(position, entry);
                }
            }
            Append::Unknown(_) if self.settings.canary == Some(Canary::IgnoreSyncError) && !told_early => {
                let tail = node.cell.tail();
                let position = Position { epoch: node.cell.epoch(), index: tail.index + 1 };
                node.cell.appended(position, entry);
                self.pump()?;
                self.stop_node("ignored a failed sync");
                return Ok(());
            }
            Append::Rejected(_) if told_early => return Err("an entry answered early was rejected".to_owned()),
            // Without its claim nobody leads: the server does not start.
            Append::Rejected(log::Rejected::Full) if node.cell.tail().epoch < node.cell.epoch() => {
                self.stop_node("no room for its claim");
                return Ok(());
            }
            Append::Rejected(log::Rejected::Full) => node.cell.append_rejected(Rejected::StorageFull),
            Append::Unknown(_) => {
                self.lost_append_us = Some(begun_us);
                node.cell.lose_log();
                let replies = node.cell.take_replies().collect();
                self.hand_out(Pumped { replies, ..Pumped::default() })?;
                self.stop_node("the log failed");
                return Ok(());
            }
            other => return Err(format!("the log answered {other:?} to its only writer")),
        }
        self.pump()
    }

    pub(super) fn end_house_work(&mut self) -> Result<(), String> {
        self.house_is_busy = false;
        let dies = self.swarm.strikes(Fault::DieInHouseWork, 5);
        if dies {
            let steps = self.disk_rng.u64(0..12);
            self.disk.lose_power_after(steps);
        }
        let Some(node) = &mut self.node else { return Ok(()) };
        let kept = node.keep_house();
        if dies {
            self.cut_power();
            return Ok(());
        }
        if let Err(error) = kept {
            if self.disk.is_powerless() || self.swarm.has(Fault::SyncError) || self.swarm.has(Fault::DiskFull) {
                self.stop_node(&error);
                return Ok(());
            }
            return Err(format!("house-keeping failed without a fault: {error}"));
        }
        self.pump()
    }
}
