//! A node of the cell: the real server, on a host of its own, with a wall clock that can be wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::certificates::Certificate;
use crate::host::Host;
use crate::network::Network;

/// Debian's package `libfaketime`, by architecture.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// The port that every node listens on.
pub const PORT: u16 = 7700;

/// What all nodes share.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server's program.
    pub binary: PathBuf,
    /// The directory of the lab.
    pub dir: PathBuf,
    /// The log's URL.
    pub log: String,
    /// The file of API keys.
    pub keys: PathBuf,
    /// The authority that everybody trusts.
    pub authority: PathBuf,
}

/// One node, running or not.
#[derive(Debug)]
pub struct Node {
    host: Host,
    certificate: Certificate,
    child: Option<Child>,
    is_paused: bool,
    clock_s: i64,
}

impl Node {
    /// One that does not run yet.
    pub const fn new(host: Host, certificate: Certificate) -> Self {
        Self { host, certificate, child: None, is_paused: false, clock_s: 0 }
    }

    /// Where it is reached.
    pub fn url(host: Host) -> String {
        format!("https://{}:{PORT}", host.address())
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self, setup: &Setup, network: &Network) -> io::Result<()> {
        if self.is_up() {
            return Ok(());
        }
        let host = self.host;
        self.write_clock(setup)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(setup, host))?;
        let mut command = network.command(host, "env");
        command.arg(format!("SSL_CERT_FILE={}", setup.authority.display()));
        if let Some(library) = faketime() {
            command.args([
                format!("LD_PRELOAD={library}"),
                format!("FAKETIME_TIMESTAMP_FILE={}", clock_file(setup, host).display()),
            ]);
            // What measures spans of time must not jump; a change of the clock is seen within a second.
            command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_CACHE_DURATION=1"]);
        }
        command.arg(&setup.binary).arg("serve");
        command.arg("--data").arg(setup.dir.join(host.to_string()));
        command.args(["--listen", &format!("{}:{PORT}", host.address())]);
        command.arg("--tls-certificate").arg(&self.certificate.certificate).arg("--tls-key").arg(&self.certificate.key);
        command.args(["--authentication", "on", "--keys"]).arg(&setup.keys);
        command.args(["--log", &setup.log, "--log-durability", "quorum"]);
        command.args(["--node", &host.to_string(), "--advertise", &Self::url(host)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn()?);
        self.is_paused = false;
        Ok(())
    }

    /// Whether its process is there, paused or not.
    pub fn is_up(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether it stands still.
    pub const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// How many seconds its wall clock is ahead.
    pub const fn clock_s(&self) -> i64 {
        self.clock_s
    }

    /// Kill -9.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }

    /// Has its process stand still, or go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pause(&mut self, stands_still: bool) -> io::Result<()> {
        let child = self.child.as_ref().ok_or_else(|| io::Error::other("it does not run"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
        kill_process(pid, if stands_still { Signal::STOP } else { Signal::CONT })?;
        self.is_paused = stands_still;
        Ok(())
    }

    /// Puts its wall clock so many seconds ahead.
    ///
    /// # Errors
    /// Where libfaketime is not installed: the fault cannot be had.
    pub fn set_clock(&mut self, clock_s: i64, setup: &Setup) -> io::Result<()> {
        if faketime().is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "not run: install the package libfaketime, and start the lab again",
            ));
        }
        self.clock_s = clock_s;
        self.write_clock(setup)
    }

    fn write_clock(&self, setup: &Setup) -> io::Result<()> {
        // Replaced whole, since it may be read at any moment.
        let (file, new) = (clock_file(setup, self.host), setup.dir.join(format!("{}.clock.new", self.host)));
        std::fs::write(&new, format!("{:+}\n", self.clock_s))?;
        std::fs::rename(new, file)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only where it is gone, which is what is wanted.
        let _ = self.kill();
    }
}

/// Where a node's standard error is kept.
pub fn log_file(setup: &Setup, host: Host) -> PathBuf {
    setup.dir.join(format!("{host}.log"))
}

fn clock_file(setup: &Setup, host: Host) -> PathBuf {
    setup.dir.join(format!("{host}.clock"))
}

/// The library that gives a process another wall clock, where it is installed.
pub fn faketime() -> Option<&'static str> {
    FAKETIME.into_iter().find(|file| Path::new(file).is_file())
}
