//! Many clients at once, each sure of nothing but the answers it got, and the check of the server against all of them.
//!
//! The clients run through a relay that loses replies, while someone kills the server or cuts its power. Each sends every
//! key until it is definite and keeps the first definite answer. Afterwards the ledger must be exactly what these answers
//! add up to: see [`check`].

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::call::Client;
use crate::http;

mod actor;
pub mod check;
mod deeds;

pub use deeds::{Book, Deed, Effect, Event, Kind};

/// What every account but the outside world begins with.
pub const OPENING_BALANCE: i64 = 2_000;

/// Accounts of each unit, the outside world not counted.
const WALLETS: u32 = 20;

/// How long a client asks for one definite answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the clients behave.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Where they connect: the relay.
    pub addr: SocketAddr,
    /// How many.
    pub clients: u64,
    /// They draw everything from it.
    pub seed: u64,
    /// The longest pause of a client between two operations.
    pub pause_ms_max: u64,
}

/// The units money is counted in.
pub const UNITS: [&str; 2] = ["point", "seat"];

/// The accounts there are, by unit: the outside world and the wallets.
pub fn accounts() -> impl Iterator<Item = (String, &'static str)> {
    UNITS.into_iter().flat_map(|unit| {
        let wallets = (0..WALLETS).map(move |number| (wallet(unit, number), unit));
        std::iter::once((format!("world/{unit}"), unit)).chain(wallets)
    })
}

fn wallet(unit: &str, number: u32) -> String {
    format!("{unit}/{number}")
}

impl Storm {
    /// Opens the accounts and pays each wallet its opening balance.
    ///
    /// # Errors
    /// Where an answer is not as it must be.
    pub fn prepare(&self) -> io::Result<Book> {
        let mut actor = actor::Actor::new(self, u64::MAX);
        for (id, unit) in accounts() {
            actor.open(&id, unit)?;
        }
        for (id, unit) in accounts().filter(|(id, _)| !id.starts_with("world/")) {
            actor.fund(&id, unit)?;
        }
        Ok(actor.into_book())
    }

    /// Runs the clients while `disturb` does its worst; they stop when it returns.
    ///
    /// # Errors
    /// What `disturb` says, or a client that got no definite answer, or a wrong one.
    pub fn rage(&self, disturb: impl FnOnce() -> io::Result<()>) -> io::Result<Book> {
        let stopping = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let (storm, stopping) = (*self, &stopping);
                    scope.spawn(move || {
                        let mut actor = actor::Actor::new(&storm, number);
                        while !stopping.load(Ordering::Relaxed) {
                            actor.act()?;
                        }
                        Ok(actor.into_book())
                    })
                })
                .collect();
            let disturbed = disturb();
            stopping.store(true, Ordering::Relaxed);
            let mut book = Book::default();
            for client in clients {
                let part: io::Result<Book> = client.join().map_err(|_| io::Error::other("a client panicked"))?;
                book.append(part?);
            }
            disturbed.map(|()| book)
        })
    }
}

/// A client and its draws.
fn connect(addr: SocketAddr) -> Client {
    Client::new(addr, Duration::from_secs(3))
}

/// The bytes of a write.
fn post(path: &str, key: &str, body: &str) -> Vec<u8> {
    let mut request = Vec::with_capacity(256 + body.len());
    http::put_post(&mut request, path, key, body.as_bytes());
    request
}

/// A seed for one of many.
fn seed_of(seed: u64, number: u64) -> Rng {
    Rng::with_seed(seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
