//! The baseline: PostgreSQL doing the same transfer as one call of an SQL function, durably.
//!
//! It gets its own cluster on the same file system, its default settings (fsync and synchronous_commit on), a Unix socket
//! and a prepared statement. The function takes the two balance rows in the order of their numbers, so that no deadlock
//! costs it time.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

use crate::load::Outcome;
use crate::workload::{FLOOR, Keys, Pairs};

const SCHEMA: &str = "
CREATE TABLE keys (key text PRIMARY KEY, transfer bigint NOT NULL, decided_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0, floor bigint NOT NULL);
CREATE TABLE transfers (id bigint PRIMARY KEY, \"from\" int NOT NULL, \"to\" int NOT NULL, amount bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE SEQUENCE transfer_ids CACHE 100;
CREATE FUNCTION transfer(k text, f int, t int, a bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  new bigint := nextval('transfer_ids');
  seen bigint;
  left_over bigint;
BEGIN
  INSERT INTO keys (key, transfer) VALUES (k, new) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    SELECT transfer INTO seen FROM keys WHERE key = k;
    RETURN seen;
  END IF;
  IF f < t THEN
    UPDATE accounts SET balance = balance - a WHERE id = f RETURNING balance - floor INTO left_over;
    UPDATE accounts SET balance = balance + a WHERE id = t;
  ELSE
    UPDATE accounts SET balance = balance + a WHERE id = t;
    UPDATE accounts SET balance = balance - a WHERE id = f RETURNING balance - floor INTO left_over;
  END IF;
  IF left_over < 0 THEN
    RAISE EXCEPTION 'insufficient-funds';
  END IF;
  INSERT INTO transfers (id, \"from\", \"to\", amount) VALUES (new, f, t, a);
  RETURN new;
END $$;
";

/// What is printed beside the figures.
const SETTINGS: [&str; 9] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "synchronous_standby_names",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "commit_delay",
];

/// A cluster of its own, stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    // Stopped in this order, so that none waits for another.
    server: own_postgres::Cluster,
    _standbys: Vec<own_postgres::Cluster>,
}

/// Who else must have a commit before it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standbys {
    /// Nobody.
    None,
    /// One of two standbys on the same machine, whichever is first.
    AnyOneOfTwo,
}

impl Standbys {
    const NAMES: [&'static str; 2] = ["one", "two"];

    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::AnyOneOfTwo => &Self::NAMES,
        }
    }
}

impl Cluster {
    /// Creates and starts one in a new directory under `parent`, with this many accounts.
    ///
    /// # Errors
    /// Where PostgreSQL is not there (see [`install`]), or does not start: why it was not run.
    pub fn start(parent: &Path, accounts: u32) -> io::Result<Self> {
        Self::start_with(parent, accounts, Standbys::None)
    }

    /// The same with standbys beside it.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(parent: &Path, accounts: u32, standbys: Standbys) -> io::Result<Self> {
        let names = standbys.names();
        let waits_for = format!("synchronous_standby_names=ANY 1 ({})", names.join(", "));
        let mut settings = vec!["max_connections=300"];
        if !names.is_empty() {
            settings.push(&waits_for);
        }
        let server = own_postgres::Cluster::start(parent, &settings)?;
        let standby = |name: &&str| server.standby(parent, name, &settings[..1]);
        let standbys = names.iter().map(standby).collect::<io::Result<_>>()?;
        let cluster = Self { server, _standbys: standbys };
        runtime()?.block_on(cluster.prepare(accounts))?;
        Ok(cluster)
    }

    /// As a server is told of it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its version and the settings that decide what a figure is worth.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn settings(&self) -> io::Result<String> {
        runtime()?.block_on(async {
            let client = self.connect().await?;
            let mut parts = Vec::new();
            for name in SETTINGS {
                let row = client.query_one("SELECT current_setting($1)", &[&name]).await.map_err(io::Error::other)?;
                parts.push(format!("{name}={}", row.get::<_, String>(0)));
            }
            Ok(parts.join(" "))
        })
    }

    /// This many clients, each calling the function as fast as it answers, for a time.
    ///
    /// # Errors
    /// Where a call fails.
    pub fn measure(&self, clients: usize, pairs: Pairs, time: Duration, seed: u64) -> io::Result<Outcome> {
        runtime()?.block_on(async {
            // Nobody calls before the last of them is connected: what happened earlier would count and its time not.
            let (mut tasks, ready) = (JoinSet::new(), Arc::new(Barrier::new(clients + 1)));
            for number in 0..clients {
                let (client, ready) = (self.connect().await?, ready.clone());
                let rng = Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                tasks.spawn(async move { call_for(client, pairs, rng, &ready, time).await });
            }
            ready.wait().await;
            let from = Instant::now();
            let mut outcome = Outcome::empty();
            while let Some(done) = tasks.join_next().await {
                let part = done.map_err(io::Error::other)??;
                outcome.requests += part.requests;
                outcome.transfers += part.transfers;
                outcome.latency_us.add(&part.latency_us).map_err(io::Error::other)?;
            }
            outcome.elapsed = from.elapsed();
            Ok(outcome)
        })
    }

    async fn prepare(&self, accounts: u32) -> io::Result<()> {
        let client = self.connect().await?;
        let fill = format!("INSERT INTO accounts SELECT i, 0, {FLOOR} FROM generate_series(0, {}) i", accounts - 1);
        for statement in [SCHEMA, &fill, "VACUUM ANALYZE accounts"] {
            client.batch_execute(statement).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn connect(&self) -> io::Result<Client> {
        let mut config = Config::new();
        config.host_path(self.server.socket()).user(own_postgres::USER).dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.map_err(io::Error::other)?;
        // Its error is every caller's error too.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

/// The better of 16 and 64 clients, and how many clients that was.
///
/// # Errors
/// Where a call fails.
pub fn best(cluster: &Cluster, pairs: Pairs, time: Duration, seed: u64) -> io::Result<(usize, Outcome)> {
    let few = cluster.measure(16, pairs, time, seed)?;
    let many = cluster.measure(64, pairs, time, seed + 1)?;
    Ok(if few.per_second() >= many.per_second() { (16, few) } else { (64, many) })
}

async fn call_for(client: Client, pairs: Pairs, mut rng: Rng, ready: &Barrier, time: Duration) -> io::Result<Outcome> {
    let mut outcome = Outcome::empty();
    let (mut keys, mut key) = (Keys::new(&mut rng), String::new());
    let statement = client.prepare("SELECT transfer($1, $2, $3, $4)").await.map_err(io::Error::other)?;
    ready.wait().await;
    let began = Instant::now();
    while began.elapsed() < time {
        let (from, to) = pairs.draw(&mut rng);
        keys.next(&mut key);
        let sent = Instant::now();
        client.query_one(&statement, &[&key, &(from as i32), &(to as i32), &1_i64]).await.map_err(io::Error::other)?;
        outcome.count(sent.elapsed(), Ok(1));
    }
    Ok(outcome)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).current_dir("/").output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{command:?}: {why}")))
}

/// Installs Debian's package where it is missing and we may.
///
/// # Errors
/// Where it is missing and can not be installed.
pub fn install() -> io::Result<()> {
    let Err(missing) = own_postgres::programs() else { return Ok(()) };
    if !is_root()? {
        return Err(missing);
    }
    let mut apt = Command::new("apt-get");
    run(apt.args(["install", "-y", "--no-install-recommends", "postgresql"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    own_postgres::programs().map(drop)
}

fn is_root() -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_moves_money_once_per_key() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = match Cluster::start(dir.path(), 3) {
            Ok(cluster) => cluster,
            // Without the package there is nothing of ours to test.
            Err(why) if why.kind() == io::ErrorKind::NotFound => return println!("not run: {why}"),
            Err(why) => panic!("{why}"),
        };
        let calls = async {
            let client = cluster.connect().await.unwrap();
            let call = "SELECT transfer($1, $2, $3, $4)";
            let first = client.query_one(call, &[&"k", &2, &1, &5_i64]).await.unwrap().get::<_, i64>(0);
            let again = client.query_one(call, &[&"k", &2, &1, &5_i64]).await.unwrap().get::<_, i64>(0);
            assert_eq!(first, again);
            let too_much = -2 * FLOOR;
            client.query_one(call, &[&"l", &0, &1, &too_much]).await.unwrap_err();
            let rows = client.query("SELECT balance FROM accounts ORDER BY id", &[]).await.unwrap();
            rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>()
        };
        assert_eq!(runtime().unwrap().block_on(calls), [0, 5, -5]);
        assert!(cluster.settings().unwrap().contains("fsync=on synchronous_commit=on"));
    }
}
