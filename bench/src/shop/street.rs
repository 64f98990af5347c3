//! The four services and the cell as processes, each behind a relay that loses replies and doubles requests, to be killed
//! and started again on what they left behind.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;

use super::books::Books;
use super::order::Supplies;
use super::service;
use super::store::Store;
use super::trade::{TILL, Trade};
use crate::process::{Launch, Server};
use crate::relay::{Faults, Relay};

/// How a street is set up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `tertium` binary.
    pub tertium: PathBuf,
    /// This package's binary, which is the services.
    pub bench: PathBuf,
    /// Whether the services have the inbox's layer.
    pub with_inbox: bool,
    /// What the relays do.
    pub faults: Faults,
    /// For everything that is drawn.
    pub seed: u64,
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victim {
    /// One of the services.
    Service(Trade),
    /// The server that performs the calls and keeps the runs.
    Cell,
}

/// Processes and the relays in front of them; they end when this is dropped.
#[derive(Debug)]
pub struct Street {
    services: Vec<(Trade, House)>,
    cell: House,
    with_inbox: bool,
    dir: TempDir,
}

#[derive(Debug)]
struct House {
    launch: Launch,
    server: Server,
    relay: Relay,
}

/// What the relays did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Harm {
    /// Replies that did not arrive whole.
    pub dropped: u64,
    /// Requests that arrived twice.
    pub duplicated: u64,
}

impl Street {
    /// Puts the supplies into the databases and starts everything.
    ///
    /// # Errors
    /// Where a process does not start, or a database can not be written.
    pub fn open(plan: &Plan, supplies: &Supplies) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        stock_up(dir.path(), supplies).map_err(io::Error::other)?;
        let mut services = Vec::new();
        for (trade, number) in Trade::ALL.into_iter().zip(1..) {
            let mut launch = Launch::new(&plan.bench, dir.path())?
                .doing(&["service", trade.as_str()])
                .with_log(&dir.path().join(format!("{}.log", trade.as_str())));
            if !plan.with_inbox {
                launch = launch.with_switch("--without-inbox");
            }
            services.push((trade, House::open(launch, plan, number)?));
        }
        let launch = Launch::new(&plan.tertium, &dir.path().join("cell"))?;
        Ok(Self { services, cell: House::open(launch, plan, 0)?, with_inbox: plan.with_inbox, dir })
    }

    /// Where buyers connect: a relay before the cell.
    pub fn front(&self) -> SocketAddr {
        self.cell.relay.addr()
    }

    /// The cell itself, without a relay.
    pub fn cell(&self) -> SocketAddr {
        self.cell.launch.addr
    }

    /// Where a service is called: a relay before it.
    pub fn service(&self, trade: Trade) -> SocketAddr {
        let found = self.services.iter().find(|(other, _)| *other == trade);
        found.map(|(_, house)| house.relay.addr()).expect("all trades have been started")
    }

    /// Whether the services keep keys, and can be asked for calls.
    pub fn with_inbox(&self) -> bool {
        self.with_inbox
    }

    /// Kill -9; after a while it is started again, on what is there.
    ///
    /// # Errors
    /// Where it had ended by itself, or does not start.
    pub fn strike(&mut self, victim: Victim, pause: Duration) -> io::Result<()> {
        let house = match victim {
            Victim::Cell => &mut self.cell,
            Victim::Service(trade) => {
                let found = self.services.iter_mut().find(|(other, _)| *other == trade);
                found.map(|(_, house)| house).expect("all trades have been started")
            }
        };
        house.server.kill_in_place()?;
        std::thread::sleep(pause);
        house.server = house.launch.start()?;
        Ok(())
    }

    /// What the relays did so far.
    pub fn harm(&self) -> Harm {
        let houses = self.services.iter().map(|(_, house)| house).chain([&self.cell]);
        houses.fold(Harm::default(), |sum, house| {
            let counts = house.relay.counts();
            Harm {
                dropped: sum.dropped + counts.dropped.load(Ordering::Relaxed),
                duplicated: sum.duplicated + counts.duplicated.load(Ordering::Relaxed),
            }
        })
    }

    /// What is written down in the four databases.
    ///
    /// # Errors
    /// Where one can not be read.
    pub fn books(&self) -> io::Result<Books> {
        Books::read(self.dir.path()).map_err(io::Error::other)
    }
}

impl House {
    fn open(launch: Launch, plan: &Plan, number: u64) -> io::Result<Self> {
        let server = launch.start()?;
        let relay = Relay::start(launch.addr, plan.faults, plan.seed ^ number << 32)?;
        Ok(Self { launch, server, relay })
    }
}

fn stock_up(data: &Path, supplies: &Supplies) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let open = |trade: Trade| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Store::open(&service::database(data, trade)?, trade.tables())?.lend()?)
    };
    let put = |trade, statement: &str, rows: &mut dyn Iterator<Item = (&str, i64)>| {
        let connection = open(trade)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for row in rows {
            connection.execute(statement, row)?;
        }
        connection.execute_batch("COMMIT")?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let mut levels = supplies.levels.iter().map(|(sku, quantity)| (sku.as_str(), *quantity));
    put(Trade::Stock, "INSERT INTO levels VALUES (?1, ?2)", &mut levels)?;
    let purses = supplies.purses.iter().map(|(customer, balance)| (customer.as_str(), *balance));
    put(Trade::Payment, "INSERT INTO purses VALUES (?1, ?2)", &mut purses.chain([(TILL, 0)]))?;
    Ok(())
}
