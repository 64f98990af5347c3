//! The contract's conformance kit: as it is, and with PostgreSQL failing underneath.

use crate::faults::{Relay, Settling};
use crate::server::{Server, Sql, new_schema, options, settings};
use fastrand::Rng;
use log::Log;
use log::conformance::{Harness, conformance};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tertium_log_postgres::{LogPostgres, Settings};

/// A log in a schema of its own, opened again after its process died.
struct Plain {
    settings: Settings,
    schema: String,
}

impl Harness for Plain {
    fn open(&mut self) -> Box<dyn Log> {
        Box::new(LogPostgres::open(self.settings.clone(), options(&self.schema)).expect("the log can be opened"))
    }

    fn crash(&mut self, log: Box<dyn Log>) {
        drop(log);
    }
}

pub(crate) fn plain(server: &mut Server) {
    conformance(|| Box::new(Plain { settings: server.settings(), schema: new_schema() }));
}

/// Faults come before calls; the caller settles.
struct Disturbed {
    settings: Settings,
    schema: String,
    entry_bytes_max: usize,
    unknown: Arc<AtomicI64>,
    disturb: fn(&Sql),
    server: std::path::PathBuf,
}

impl Harness for Disturbed {
    fn open(&mut self) -> Box<dyn Log> {
        let mut options = options(&self.schema);
        options.entry_bytes_max = self.entry_bytes_max;
        let log = Box::new(LogPostgres::open(self.settings.clone(), options).expect("the log can be opened"));
        let (sql, disturb, mut calls) = (Sql::connect(&self.server), self.disturb, 0_u32);
        let disturb = Box::new(move || {
            calls += 1;
            if calls.is_multiple_of(17) {
                disturb(&sql);
            }
        });
        Box::new(Settling { log, disturb, unknown: Arc::clone(&self.unknown) })
    }

    fn crash(&mut self, log: Box<dyn Log>) {
        drop(log);
    }
}

pub(crate) fn with_sessions_terminated(server: &mut Server) {
    conformance(|| {
        Box::new(Disturbed {
            settings: server.settings(),
            schema: new_schema(),
            entry_bytes_max: 1 << 20,
            unknown: Arc::default(),
            disturb: Sql::terminate,
            server: server.cluster.socket().to_owned(),
        })
    });
}

pub(crate) fn through_a_relay_that_cuts(server: &mut Server) {
    // Some are cut while they are set up, some after many appends. None is endless, or nothing would be cut in short cases.
    let budget = |rng: &mut Rng| {
        let bytes_max = 1 << rng.u32(9..=21);
        rng.i64(500..=bytes_max)
    };
    let relay = Relay::start(server.cluster.socket(), budget, 1);
    let unknown: Arc<AtomicI64> = Arc::default();
    conformance(|| {
        Box::new(Disturbed {
            settings: settings(relay.socket()),
            schema: new_schema(),
            entry_bytes_max: 100 << 10,
            unknown: Arc::clone(&unknown),
            disturb: |_| {},
            server: server.cluster.socket().to_owned(),
        })
    });
    let unknown = unknown.load(Ordering::Relaxed);
    assert!(unknown > 0, "cuts leave appends unknown");
    println!("{unknown} appends were unknown");
}

/// The server stops at once and starts again.
struct Crashing {
    server: Rc<RefCell<Server>>,
    schema: String,
}

impl Harness for Crashing {
    fn open(&mut self) -> Box<dyn Log> {
        Box::new(self.server.borrow().open(&self.schema))
    }

    fn crash(&mut self, log: Box<dyn Log>) {
        let mut server = self.server.borrow_mut();
        server.cluster.crash().expect("it stops");
        // The log outlives the server, as it would in life.
        drop(log);
        server.cluster.start_again().expect("it starts");
    }
}

pub(crate) fn with_crashes(_: &mut Server) {
    // One that nobody else uses.
    let server = Rc::new(RefCell::new(Server::start().expect("a server")));
    conformance(|| Box::new(Crashing { server: Rc::clone(&server), schema: new_schema() }));
}
