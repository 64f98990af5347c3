//! The five classic accidents of calls over a network, made to happen with the protection off, and not with it on.
//!
//! Each is staged with real processes and sockets. Nothing in them is left to chance: who is late, what is lost and who dies
//! is arranged, so that the counts are the same each time.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::call::{Answer, Client};
use crate::process::{Launch, Server};

pub mod desk;
mod double_debit;
mod lost_lease;
mod lost_write;
mod retry_storm;
mod stuck_pending;

/// What an accident needs: the programs, and a directory.
#[derive(Debug)]
pub struct Stage {
    tertium: PathBuf,
    bench: PathBuf,
    dir: TempDir,
}

/// What was seen of one accident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accident {
    /// What people call it.
    pub name: &'static str,
    /// What happens.
    pub how: &'static str,
    /// What keeps it from doing harm.
    pub protection: &'static str,
    /// Without that.
    pub without: Seen,
    /// With it.
    pub with: Seen,
}

/// How it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// How many times harm was done.
    pub harmed: u64,
    /// What there is to see, the same each time.
    pub what: String,
    /// What differs from run to run, for whoever watches.
    pub remark: String,
}

/// Stages one.
pub type Staged = fn(&Stage) -> io::Result<Accident>;

/// All of them.
pub const ALL: [Staged; 5] =
    [double_debit::stage, lost_write::stage, stuck_pending::stage, retry_storm::stage, lost_lease::stage];

/// As a table in Markdown.
pub fn table(accidents: &[Accident]) -> String {
    let head = "| accident | what happens | without protection | with it | what protects |\n|---|---|---|---|---|\n";
    accidents.iter().fold(head.to_owned(), |table, accident| table + &accident.to_string())
}

impl fmt::Display for Accident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, how, protection, without, with } = self;
        writeln!(f, "| {name} | {how} | {} | {} | {protection} |", without.what, with.what)
    }
}

impl Seen {
    fn new(harmed: u64, what: String) -> Self {
        Self { harmed, what, remark: String::new() }
    }
}

impl Stage {
    /// With these binaries.
    ///
    /// # Errors
    /// Where there is no directory to be had.
    pub fn new(tertium: PathBuf, bench: PathBuf) -> io::Result<Self> {
        Ok(Self { tertium, bench, dir: tempfile::tempdir()? })
    }

    /// A server of its own.
    fn cell(&self, name: &str) -> io::Result<Server> {
        Launch::new(&self.tertium, &self.dir.path().join(name))?.start()
    }

    /// How a [`desk`] of its own is started.
    fn desk(&self, name: &str) -> io::Result<Launch> {
        Ok(Launch::new(&self.bench, &self.dir.path().join(name))?.doing(&["service", "desk"]))
    }
}

/// An answer that must have this status.
fn expect(answer: Answer, status: u16) -> io::Result<Value> {
    if answer.status == status { Ok(answer.json()) } else { Err(io::Error::other(format!("not {status}: {answer}"))) }
}

/// A read that must be answered.
fn read(client: &mut Client, path: &str) -> io::Result<Value> {
    let answer = client.get(path)?;
    expect(answer, 200)
}
