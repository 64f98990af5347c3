//! The cell's threads: one that decides, one that appends, one that keeps house, one for the log's upkeep.
//!
//! A small entry with nothing else to do is appended by the deciding thread itself: a lone client waits for one write
//! and sync and for no hand-over between threads. Under load the appending thread writes the next entry while the last
//! one is applied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::api::Rejected;
use crate::cell::Cell;
use crate::clock::Now;
use crate::fault::CellFault;
use crate::hand::{Done, Job, perform, perform_all};
use crate::handle::{Message, ReadReplyTo, Shared, WriteReply, lock, now_since, refuse};
use crate::house::{HouseResult, HouseWork};
use crate::inbox::Inbox;
use crate::work::OutboxOf;
use archive::ArchiveError;
use disk::Disk;
use log::{Append, Kept, Log, LogError, Upkeep};

mod following;
mod leading;

use following::Turn;
use leading::Leading;

/// The exit code of a process whose cell had to stop: EX_SOFTWARE of sysexits.h.
pub const EXIT_FATAL: i32 = 70;

/// The largest entry that the deciding thread appends itself.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// How long the log rests before its end is marked.
const MARK_AFTER: Duration = Duration::from_millis(50);

/// How often room is looked for while there is none.
const ROOM_EVERY: Duration = Duration::from_millis(100);

/// House-keeping on the deciding thread may take one part in so many of the time that applying takes.
const HOUSE_PART: u32 = 4;

/// How long the deciding thread looks out for the next request of a lone client before it sleeps: to be woken costs more
/// than most clients take to ask again.
const LOOK_OUT: Duration = Duration::from_micros(60);

/// The niceness of threads whose work nobody waits for: a third of the weight of those that answer.
const BEHIND_NICE: i32 = 5;

const IDLE: Duration = Duration::from_secs(1);

pub(crate) type TheCell = Cell<WriteReply, ReadReplyTo>;

pub(crate) struct Driver {
    cell: TheCell,
    log: Arc<Mutex<Box<dyn Log>>>,
    jobs: Sender<Job>,
    house: Sender<HouseWork>,
    inbox: Arc<Inbox<Message>>,
    shared: Arc<Shared>,
    leading: Leading,
    /// Where others share the log and take turns.
    turn: Option<Turn>,
    /// When the log last could not be reached.
    refused_at: Option<Instant>,
    /// The entry being appended hands the lead over.
    is_last: bool,
    marked: bool,
    last_append: Instant,
    /// When room was last looked for behind the log.
    last_house: Instant,
    /// Whether the last look into the inbox found one message only.
    lone: bool,
    stoppers: Vec<Sender<()>>,
    outbox: OutboxOf,
}

impl Driver {
    pub(crate) fn spawn(
        cell: TheCell,
        outbox: OutboxOf,
        log: Box<dyn Log>,
        upkeep: Option<Box<dyn Upkeep>>,
        disk: Arc<dyn Disk>,
        inbox: Arc<Inbox<Message>>,
        shared: Arc<Shared>,
    ) -> JoinHandle<()> {
        let log = Arc::new(Mutex::new(log));
        let (jobs, to_do) = channel();
        let (house, work) = channel();
        let name = cell.options.cell.clone();
        let append = spawn("log", {
            let (log, inbox) = (Arc::clone(&log), Arc::clone(&inbox));
            move || perform_all(&log, &to_do, &inbox)
        });
        let keep = spawn("house", {
            let inbox = Arc::clone(&inbox);
            move || {
                step_back();
                // A cell that is gone needs no house.
                crate::house::keep(disk, &name, work, &mut |result| drop(inbox.send(Message::House(result))));
            }
        });
        let over = Arc::new(AtomicBool::new(false));
        let upkeep = spawn("upkeep", {
            let over = Arc::clone(&over);
            move || {
                step_back();
                upkeep.into_iter().for_each(|upkeep| keep_up(&*upkeep, &over));
            }
        });
        let mut driver = Self {
            marked: cell.options.log_is_shared,
            turn: cell.options.turns.map(Turn::new),
            cell,
            log,
            jobs,
            house,
            inbox,
            shared,
            leading: Leading::default(),
            refused_at: None,
            is_last: false,
            last_append: Instant::now(),
            last_house: Instant::now(),
            lone: false,
            stoppers: Vec::new(),
            outbox,
        };
        spawn("cell", move || {
            if let Err(fault) = driver.run() {
                fatal(&fault);
            }
            let stoppers = driver.close();
            over.store(true, Ordering::Relaxed);
            for thread in [append, keep, upkeep] {
                // A panic there has stopped the process already.
                let _ = thread.join();
            }
            for done in stoppers {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        })
    }

    fn run(&mut self) -> Result<(), CellFault> {
        let mut messages = Vec::with_capacity(256);
        self.publish_status();
        loop {
            let patience = self.patience();
            let look_out = if self.lone { LOOK_OUT } else { Duration::ZERO };
            self.inbox.take(&mut messages, patience, look_out);
            self.lone = messages.len() == 1;
            for message in messages.drain(..) {
                self.handle(message)?;
            }
            self.step()?;
            if !self.stoppers.is_empty() && self.may_end() {
                return Ok(());
            }
        }
    }

    /// Whether everything was finished that can be. What is in doubt is settled by whoever claims next.
    fn may_end(&mut self) -> bool {
        if self.cell.is_in_doubt() {
            self.cell.lose_log();
            return true;
        }
        self.cell.is_idle() && !self.cell.checkpoint_runs()
    }

    fn step(&mut self) -> Result<(), CellFault> {
        if self.cell.is_appending() {
            self.cell.expire(self.now());
        }
        self.cell.wake_pending(self.now());
        self.start_append();
        let began = Instant::now();
        while self.cell.apply_next()? {
            self.start_append();
            self.publish_status();
            self.deliver();
        }
        let applying = began.elapsed();
        self.publish_status();
        self.deliver();
        if self.cell.has_waiting_reads() {
            let now = self.now();
            for (reply, answer) in self.cell.wake_reads(now)? {
                reply(answer);
            }
        }
        self.ask_log();
        self.look_at_log();
        self.keep_house(applying);
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), CellFault> {
        let now = self.now();
        match message {
            Message::Write(write, reply) => self.cell.submit(write, reply, now)?,
            Message::Read(read, reply) => {
                if let Some((reply, answer)) = self.cell.read(read, reply, now)? {
                    reply(answer);
                }
            }
            Message::Log(done) => self.on_log(done)?,
            Message::Promote(to, reply) => self.on_promote(to, reply),
            Message::House(result) => self.on_house(result),
            Message::Stop(done) => {
                self.cell.stop();
                self.stoppers.push(done);
            }
        }
        Ok(())
    }

    /// Begins the next append if there is a reason for one and none is under way.
    fn start_append(&mut self) {
        if self.cell.is_appending() || self.cell.is_following() {
            return;
        }
        let now = self.now();
        if let Some(entry) = self.next_entry(now) {
            let is_small = !self.is_shared() && entry.len() <= INLINE_BYTES_MAX;
            let job = Job::Append { after: self.cell.tail(), epoch: self.cell.epoch(), entry };
            self.marked = self.is_shared();
            if is_small && self.cell.nothing_to_apply() {
                if let Done::Append { entry, result, .. } = perform(&self.log, job) {
                    self.on_appended(entry, result);
                }
            } else {
                self.hand_on(job);
            }
        }
    }

    /// Whether others may append to the log, which then is behind a network: the deciding thread never waits for it, not even
    /// for its lock.
    fn is_shared(&self) -> bool {
        self.cell.options.log_is_shared
    }

    /// Has the log do something beside this thread.
    fn hand_on(&self, job: Job) {
        self.jobs.send(job).expect("the log's thread lives as long as its sender");
    }

    fn on_log(&mut self, done: Done) -> Result<(), CellFault> {
        match done {
            Done::Followed { asked_us, result } => self.on_followed(asked_us, result)?,
            Done::Append { position, entry, result } if self.claims_lead() => {
                self.on_lead_claimed(position, entry, result);
            }
            // Sent while this node led: whoever waited for it was told then that nobody knows.
            Done::Append { .. } if self.cell.is_following() => {}
            Done::Append { position, result, .. } if matches!(self.leading, Leading::Claiming) => {
                self.on_claimed(position, result);
            }
            Done::Append { entry, result, .. } => self.on_appended(entry, result),
            Done::Tail { asked_us, result } => self.on_tail(asked_us, result),
            Done::Read(result) => self.on_read(result),
            Done::Trim(Ok(first)) => lock(&self.shared.status).log_first = first,
            // What should have gone is still there, and goes with the next trim.
            Done::Trim(Err(LogError::Io { .. })) => {}
            Done::Trim(Err(error)) => fatal(&error),
        }
        Ok(())
    }

    /// Whether the log could not be reached a moment ago, and is left alone.
    fn log_rests(&self) -> bool {
        self.refused_at.is_some_and(|at| at.elapsed() < ROOM_EVERY)
    }

    fn next_entry(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.log_rests() {
            self.cell.reject_queue(Rejected::LogUnavailable);
            return None;
        }
        // A shared log says so itself, by refusing an append.
        let has_room = self.is_shared() || lock(&self.log).has_room().is_ok();
        self.cell.set_storage_full(!has_room);
        if has_room {
            let entry = if self.cell.is_resigning() { None } else { self.cell.take_batch(now) };
            return entry.or_else(|| self.entry_of_turn(now));
        }
        self.cell.reject_queue(Rejected::StorageFull);
        None
    }

    fn on_appended(&mut self, entry: Vec<u8>, result: Append) {
        self.last_append = Instant::now();
        let is_last = self.is_last && self.end_hand_over(&result);
        match result {
            Append::Ok(position) => {
                self.cell.appended(position, entry);
                if is_last {
                    self.step_down();
                }
            }
            Append::Rejected(log::Rejected::Full) => self.cell.append_rejected(Rejected::StorageFull),
            Append::Rejected(log::Rejected::Unavailable { .. }) => {
                self.refused_at = Some(Instant::now());
                self.cell.append_rejected(Rejected::LogUnavailable);
            }
            Append::Rejected(log::Rejected::TooLarge { max }) => {
                self.cell.append_rejected(Rejected::TooLarge { max });
            }
            Append::Conflict { tail } => {
                // Certain: the log has taken nothing of it.
                self.cell.append_rejected(Rejected::LogUnavailable);
                self.deposed(tail)
            }
            Append::Unknown(LogError::Io { .. }) => self.cell.append_unknown(entry),
            lost => self.lost(&format!("{lost:?}")),
        }
    }

    fn deliver(&mut self) {
        for work in self.cell.take_work() {
            (self.outbox)(work);
        }
        for (reply, answer) in self.cell.take_replies() {
            reply(answer);
        }
    }

    fn keep_house(&mut self, applying: Duration) {
        // A chunk of a checkpoint is made on this thread, and entries come first: house-keeping gets a part of the time
        // that they took, so that it neither delays them much nor falls behind under load.
        let began = Instant::now();
        let budget = applying / HOUSE_PART;
        // Where there is no room, the same work comes back: it gets a turn now and then.
        let rests = self.cell.is_house_out_of_room() && self.last_house.elapsed() < ROOM_EVERY;
        while !rests && let Some(work) = self.cell.next_house_work() {
            self.last_house = began;
            self.house.send(work).expect("the house-keeping thread lives as long as its sender");
            if began.elapsed() >= budget {
                break;
            }
        }
        let rested = !self.marked && !self.cell.is_appending() && self.last_append.elapsed() >= MARK_AFTER;
        if rested {
            self.mark();
        }
    }

    fn on_house(&mut self, result: HouseResult) {
        match self.cell.house_done(result) {
            // The checkpoints are on this machine alone: whoever takes the cell over without them needs all of the log.
            Ok(Some(_)) if self.is_shared() => {}
            Ok(Some(upto)) => self.hand_on(Job::Trim { upto }),
            Ok(None) => {}
            Err(error) => fatal(&error),
        }
    }

    fn mark(&mut self) {
        let marked = lock(&self.log).mark();
        match marked {
            // Without room for a mark the end of the log is unmarked, which costs nothing unless it is damaged.
            Ok(()) | Err(LogError::Full) => self.marked = true,
            Err(error) => {
                self.cell.lose_log();
                self.deliver();
                fatal(&error);
            }
        }
    }

    /// Marks the end of the log and lets go of the other threads, who end with what they have.
    fn close(mut self) -> Vec<Sender<()>> {
        if !self.is_shared() {
            self.mark();
        }
        self.cell.stop();
        self.deliver();
        for late in self.inbox.close() {
            refuse(late, self.cell.machine().position());
        }
        self.stoppers
    }

    fn patience(&mut self) -> Duration {
        if self.cell.has_ready() {
            return Duration::ZERO;
        }
        let now = self.now();
        let mut patience = IDLE;
        if self.cell.is_storage_full() || self.cell.is_house_out_of_room() || self.log_rests() {
            patience = patience.min(ROOM_EVERY);
        }
        // A timer needs an entry, which needs its turn and room.
        let timer =
            !self.cell.is_appending() && !self.cell.is_following() && !self.cell.is_storage_full() && !self.log_rests();
        let due_us = [
            if timer { self.cell.timer_due_in_us(now) } else { None },
            self.cell.expiry_due_in_us(now),
            self.cell.pending_due_in_us(now),
            self.cell.reads_due_in_us(now),
        ];
        if let Some(due_us) = due_us.into_iter().flatten().min() {
            patience = patience.min(Duration::from_micros(due_us));
        }
        for due_in in [self.leading.due_in(), self.turn_due_in()].into_iter().flatten() {
            patience = patience.min(due_in);
        }
        if !self.marked {
            patience = patience.min(MARK_AFTER);
        }
        if self.cell.has_chunk_to_take() {
            patience = Duration::ZERO;
        }
        patience
    }

    fn publish_status(&self) {
        let mut status = self.cell.status();
        let mut shared = lock(&self.shared.status);
        status.log_first = shared.log_first;
        *shared = status;
    }

    fn now(&self) -> Now {
        now_since(self.shared.started)
    }
}

/// Does the log's work beside the appends as it comes, until it is over.
fn keep_up(upkeep: &dyn Upkeep, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match upkeep.run_once() {
            Ok(Kept::Worked) => {}
            Ok(Kept::Idle | Kept::Full) => upkeep.wait(ROOM_EVERY),
            Err(error) => fatal(&error),
        }
    }
}

/// Lets the threads that answer go first. Where the system does not allow it, all are equal, which is only slower.
fn step_back() {
    let this = rustix::thread::gettid();
    let _ = rustix::process::setpriority_process(Some(this), BEHIND_NICE);
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(format!("tertium-{name}")).spawn(body).expect("the system has a thread to spare")
}

/// Stops the process: the state is not what it should be, and only a restart that verifies can make it so.
fn fatal(why: &dyn std::fmt::Display) -> ! {
    eprintln!("tertium: fatal: {why}. The process stops; start it again to recover from the log.");
    std::process::exit(EXIT_FATAL)
}

// What the cell's thread and the archive's jobs hand each other must be able to cross threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<TheCell>();
    is_send::<ArchiveError>();
};
