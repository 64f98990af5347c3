//! The contract's kit over the real disk and over the simulated one, with small segments, so that each case runs over
//! many of them.

use disk::{Disk, RealDisk, SimDisk};
use fastrand::Rng;
use log::Log;
use log::conformance::{Harness, conformance};
use std::sync::Arc;
use tertium_log_file::{LogFile, LogOptions};
use words::CellName;

fn options() -> LogOptions {
    let cell = CellName::new("main").expect("a name");
    LogOptions { segment_bytes: 128 << 10, reserve_bytes: 0, spares_max: 3, ..LogOptions::new(cell, 42) }
}

fn open(disk: Arc<dyn Disk>) -> Box<dyn Log> {
    Box::new(LogFile::open(disk, options()).expect("open").0)
}

struct Real {
    dir: tempfile::TempDir,
}

impl Harness for Real {
    fn open(&mut self) -> Box<dyn Log> {
        open(Arc::new(RealDisk::open(self.dir.path()).expect("the log before was dropped")))
    }

    fn crash(&mut self, log: Box<dyn Log>) {
        drop(log);
    }
}

struct Sim {
    disk: SimDisk,
    rng: Rng,
}

impl Harness for Sim {
    fn open(&mut self) -> Box<dyn Log> {
        open(Arc::new(self.disk.clone()))
    }

    fn crash(&mut self, log: Box<dyn Log>) {
        drop(log);
        self.disk.crash(&mut self.rng);
    }
}

#[test]
fn over_the_real_disk() {
    conformance(|| Box::new(Real { dir: tempfile::tempdir().expect("temporary directory") }));
}

#[test]
fn over_the_simulated_disk() {
    for seed in 0..5 {
        conformance(|| Box::new(Sim { disk: SimDisk::new(), rng: Rng::with_seed(seed) }));
    }
}
