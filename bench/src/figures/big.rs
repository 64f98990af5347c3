//! The big store: memory, restart, and checkpoints under load.

use std::io;
use std::time::Duration;

use super::house::{Bulk, House, send_bulk};
use crate::call::Client;
use crate::load::{self, Outcome, Plan};
use crate::process::Server;
use crate::workload::{Pairs, Transfers};

/// No checkpoint while it is measured.
const NEVER: &str = "64GiB";
/// The smallest there is: one checkpoint after the other.
const ALWAYS: &str = "1MiB";

/// A server with the big store.
#[derive(Debug)]
pub struct Big {
    server: Server,
    accounts: u32,
    /// Transfers in it.
    pub transfers: u64,
    /// The fill.
    pub filled: Outcome,
    /// Resident memory right after the fill, in bytes.
    pub resident_bytes: u64,
}

/// Writes at one pace, with checkpoints and without.
#[derive(Debug)]
pub struct Paced {
    /// The pace, in requests a second.
    pub rate: f64,
    /// Without a checkpoint.
    pub quiet: Outcome,
    /// During checkpoints.
    pub busy: Outcome,
    /// How many finished meanwhile.
    pub checkpoints: f64,
}

impl Big {
    pub(super) fn fill(house: &mut House) -> io::Result<Self> {
        let sizes = house.sizes();
        let server = house.fresh("big", sizes.big_accounts)?;
        let filled = send_bulk(&server, Bulk::Stream, sizes.big_accounts, sizes.big_transfers, house.next_seed())?;
        let resident_bytes = server.resident_bytes()?;
        Ok(Self { server, accounts: sizes.big_accounts, transfers: filled.transfers, filled, resident_bytes })
    }

    /// Kills it and starts it again: the time from start to ready.
    ///
    /// # Errors
    /// Where it does not come back.
    pub fn restart(&mut self) -> io::Result<Duration> {
        self.server.kill_in_place()?;
        let mut server = self.server.launch().spawn()?;
        let ready = server.wait_ready()?;
        self.server = server;
        Ok(ready)
    }

    /// Resident memory now, in bytes.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn resident_bytes_now(&self) -> io::Result<u64> {
        self.server.resident_bytes()
    }

    /// Writes at 40 % of what it can do, first without checkpoints and then with one after the other.
    ///
    /// # Errors
    /// Where the server does not start with these settings, or the load can not be put on.
    pub fn checkpoints(&mut self, house_sizes: super::house::Sizes, seed: u64) -> io::Result<Paced> {
        let mut workload = Transfers::new(Pairs::Random(self.accounts), 0, seed);
        self.start_with(NEVER)?;
        let full = load::run(self.server.addr(), Plan::timed(64, house_sizes.time), &mut workload)?;
        let rate = full.per_second() * 0.4;
        let plan = Plan { rate: Some(rate), ..Plan::timed(64, house_sizes.paced) };
        let quiet = load::run(self.server.addr(), plan, &mut workload)?;
        self.start_with(ALWAYS)?;
        // The first moments after a start are not what is asked for.
        load::run(self.server.addr(), Plan { time_max: house_sizes.warm_up, ..plan }, &mut workload)?;
        let before = self.checkpoints_finished()?;
        let busy = load::run(self.server.addr(), plan, &mut workload)?;
        let checkpoints = self.checkpoints_finished()? - before;
        Ok(Paced { rate, quiet, busy, checkpoints })
    }

    fn start_with(&mut self, checkpoint_bytes: &str) -> io::Result<()> {
        self.server.kill_in_place()?;
        let mut launch = self.server.launch().clone();
        launch.flags.clear();
        self.server = launch.with("--checkpoint-bytes", checkpoint_bytes).start()?;
        Ok(())
    }

    fn checkpoints_finished(&self) -> io::Result<f64> {
        let answer = Client::new(self.server.addr(), Duration::from_secs(5)).get("/metrics")?;
        String::from_utf8_lossy(&answer.body)
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(name, _)| name.trim_end_matches("_total").ends_with("checkpoints"))
            .and_then(|(_, value)| value.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("the metrics do not count checkpoints"))
    }
}
