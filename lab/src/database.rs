//! PostgreSQL with two standbys, of which one must have each commit; and what a person does when the primary is gone.

use std::io;
use std::path::{Path, PathBuf};

use own_postgres::{Cluster, Place};

use crate::host::Host;
use crate::network::Network;

/// The three servers.
#[derive(Debug)]
pub struct Databases {
    dir: PathBuf,
    servers: Vec<Server>,
    primary: usize,
    /// How many were made so far: each has a directory of its own.
    made: u32,
}

#[derive(Debug, Default)]
struct Server {
    /// With its data, whether it runs or not.
    cluster: Option<Cluster>,
    is_up: bool,
}

impl Databases {
    /// Starts the first, and then the others as standbys of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where PostgreSQL is not installed; else what a program said.
    pub fn start(dir: &Path, network: &Network) -> io::Result<Self> {
        let servers = Host::databases().map(|_| Server::default()).collect();
        let mut databases = Self { dir: dir.to_owned(), servers, primary: 0, made: 0 };
        for number in 0..databases.servers.len() {
            databases.start_one(number, network)?;
        }
        Ok(databases)
    }

    /// The URL of the one that takes writes, whichever it is.
    pub fn url() -> String {
        let hosts: Vec<String> = Host::databases().map(|host| host.address().to_string()).collect();
        let user = own_postgres::USER;
        format!("postgres://{user}@{}/postgres?sslmode=disable&target_session_attrs=read-write", hosts.join(","))
    }

    /// The number of the one that takes writes, or did last.
    pub const fn primary(&self) -> usize {
        self.primary
    }

    /// Whether the one of this number runs.
    pub fn is_up(&self, number: usize) -> bool {
        self.servers[number].is_up
    }

    /// Starts one that does not run: the primary with its data, any other as a new standby that is copied from the primary, since
    /// one that was the primary may have what its successor has not.
    ///
    /// # Errors
    /// What a program said.
    pub fn start_one(&mut self, number: usize, network: &Network) -> io::Result<()> {
        if self.servers[number].is_up {
            return Ok(());
        }
        let is_primary = number == self.primary;
        if let Some(cluster) = self.servers[number].cluster.as_mut().filter(|_| is_primary) {
            cluster.start_again()?;
        } else {
            let made = self.make(number, network)?;
            self.servers[number].cluster = Some(made);
        }
        self.servers[number].is_up = true;
        Ok(())
    }

    fn make(&mut self, number: usize, network: &Network) -> io::Result<Cluster> {
        let host = Host::databases().nth(number).ok_or_else(|| io::Error::other("there is no such database"))?;
        self.made += 1;
        let parent = self.dir.join(format!("{host}-{}", self.made));
        std::fs::create_dir_all(&parent)?;
        let place = Place { namespace: network.namespace(host), address: host.address() };
        let names: Vec<String> = Host::databases().map(|host| host.to_string()).collect();
        let waits_for = format!("synchronous_standby_names=ANY 1 ({})", names.join(", "));
        // A cut is noticed within seconds, so that a standby looks for another primary.
        let bounds = ["wal_sender_timeout=5s", "wal_receiver_timeout=5s", "wal_retrieve_retry_interval=1s"];
        let mut settings = vec!["max_connections=60", "shared_buffers=32MB", &waits_for];
        settings.extend(bounds);
        if number == self.primary {
            return Cluster::start_in(&parent, &host.to_string(), &settings, place);
        }
        let primaries: Vec<_> = Host::databases().map(Host::address).collect();
        Cluster::standby_in(&parent, &host.to_string(), &settings, place, &primaries)
    }

    /// Stops one as a crash does.
    ///
    /// # Errors
    /// What a program said.
    pub fn kill(&mut self, number: usize) -> io::Result<()> {
        let server = &mut self.servers[number];
        server.is_up = false;
        server.cluster.as_mut().map_or(Ok(()), Cluster::crash)
    }

    /// Makes a primary of a standby, after the one before it was stopped: nobody must be left who takes writes beside it.
    ///
    /// # Errors
    /// Where it is no running standby; what a program said.
    pub fn promote(&mut self, number: usize) -> io::Result<()> {
        if number == self.primary {
            return Ok(());
        }
        if !self.servers[number].is_up {
            return Err(io::Error::other("it does not run"));
        }
        if self.servers[self.primary].is_up {
            self.kill(self.primary)?;
        }
        if let Some(cluster) = &self.servers[number].cluster {
            cluster.promote()?;
        }
        self.primary = number;
        Ok(())
    }
}
