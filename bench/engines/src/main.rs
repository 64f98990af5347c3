//! The archive and two embedded engines on the same work: `cargo run --release -- archive|fjall|redb [records] [accounts]`.
//!
//! Each record (150 bytes) is stored under one name (a hash) and under two accounts with its ordinal. Nothing is synced
//! for each record, since the log in front of all three is what makes it durable; what was stored is durable at the end.
//! The engines keep name -> record in one map; they are spared the map from ordinal to record that the archive has too.
//! One engine for each run, so that memory and bytes written are its own.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use archive::DiskArchive;
use disk::RealDisk;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use machine::{Archive, NameHash};
use redb::{Durability, ReadableDatabase, TableDefinition};

const RECORD_BYTES: usize = 150;
const BATCH: u64 = 1_000;
const LOOKUPS: u64 = 200_000;
/// About what the archive has in memtables and filters at 5 million records.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
/// How often what redb was given is made durable: about as often as the archive seals.
const DURABLE_EVERY: u64 = 500_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a store must do.
trait Store {
    fn push(&mut self, batch: &[Item]) -> Result<()>;
    /// Makes everything durable and waits for work in the background.
    fn settle(&mut self) -> Result<()>;
    fn has(&self, name: u64) -> Result<bool>;
    fn newest_of(&self, account: u64) -> Result<Option<u64>>;
}

/// A record and where it goes.
struct Item {
    ordinal: u64,
    name: u64,
    accounts: [u64; 2],
    record: [u8; RECORD_BYTES],
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| arguments.get(place).map_or(Ok(default), |text| text.parse::<u64>());
    let (records, accounts) = (number(1, 5_000_000)?, number(2, 1_000_000)?);
    let dir = tempfile::tempdir()?;
    let engine = arguments.first().map_or("archive", String::as_str);
    let mut store: Box<dyn Store> = match engine {
        "archive" => Box::new(Sealed::open(dir.path())?),
        "fjall" => Box::new(Fjall::open(dir.path())?),
        "redb" => Box::new(Redb::open(dir.path())?),
        _ => return Err("archive, fjall or redb?".into()),
    };
    println!("{engine}: {records} records, {accounts} accounts");
    let begin = Instant::now();
    let pushing = push_all(store.as_mut(), records, accounts)?;
    println!("  push, on the thread that pushes: {} ns", pushing / u128::from(records));
    store.settle()?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("  until all is durable and settled: {seconds:.1} s, {:.0} records/s", records as f64 / seconds);
    println!("  CPU of all threads: {} ns a record", cpu_ms()? * 1_000_000 / records);
    println!("  handed to the system to write: {} bytes a record", written_bytes()? / records);
    println!("  resident: {} MB now, {} MB at most", status_kb("VmRSS")? / 1_000, status_kb("VmHWM")? / 1_000);
    look_up(store.as_ref(), records, accounts)
}

fn push_all(store: &mut dyn Store, records: u64, accounts: u64) -> Result<u128> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut pushing = 0;
    for start in (0..records).step_by(BATCH as usize) {
        let batch: Vec<Item> =
            (start..records.min(start + BATCH)).map(|ordinal| item(ordinal, accounts, &mut random)).collect();
        let begin = Instant::now();
        store.push(&batch)?;
        pushing += begin.elapsed().as_nanos();
    }
    Ok(pushing)
}

fn look_up(store: &dyn Store, records: u64, accounts: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(2);
    let mut time = |what: &str, one: &mut dyn FnMut(&mut fastrand::Rng) -> Result<bool>| -> Result<()> {
        let (begin, mut yes) = (Instant::now(), 0);
        for _ in 0..LOOKUPS {
            yes += u64::from(one(&mut random)?);
        }
        println!("  {what}: {} ns ({yes} of {LOOKUPS})", begin.elapsed().as_nanos() / u128::from(LOOKUPS));
        Ok(())
    };
    time("absent name", &mut |random| store.has(hash(random.u64(..), 2)))?;
    time("present name", &mut |random| store.has(hash(random.u64(0..records), 0)))?;
    time("newest record of an account", &mut |random| Ok(store.newest_of(hash(random.u64(0..accounts), 1))?.is_some()))
}

fn item(ordinal: u64, accounts: u64, random: &mut fastrand::Rng) -> Item {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&ordinal.to_le_bytes());
    // Names, hashes and numbers do not compress; ids, units and zeros do.
    random.fill(&mut record[8..80]);
    let accounts = [hash(random.u64(0..accounts), 1), hash(random.u64(0..accounts), 1)];
    Item { ordinal, name: hash(ordinal, 0), accounts, record }
}

fn hash(of: u64, space: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&of.to_le_bytes(), space)
}

fn account_key(account: u64, ordinal: u64) -> [u8; 16] {
    (u128::from(account) << 64 | u128::from(ordinal)).to_be_bytes()
}

/// This project's archive, its jobs on a thread of their own.
struct Sealed {
    archive: DiskArchive,
    to_worker: std::sync::mpsc::SyncSender<archive::Job>,
    done: std::sync::mpsc::Receiver<archive::Done>,
    running: bool,
}

impl Sealed {
    fn open(path: &Path) -> Result<Self> {
        let archive = DiskArchive::open(Arc::new(RealDisk::open(path)?), 0, archive::Options::default())?;
        let (to_worker, jobs) = std::sync::mpsc::sync_channel::<archive::Job>(1);
        let (to_archive, done) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for job in jobs {
                if to_archive.send(job.run()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { archive, to_worker, done, running: false })
    }

    /// Gives the worker its next job; says whether one runs.
    fn give(&mut self) -> Result<bool> {
        if let Some(job) = self.archive.next_job() {
            self.to_worker.send(job)?;
            self.running = true;
        }
        Ok(self.running)
    }

    fn take(&mut self, done: archive::Done) -> Result<()> {
        self.running = false;
        self.archive.finish(done)?;
        self.archive.set_floor(self.archive.sealed_upto());
        Ok(())
    }
}

impl Store for Sealed {
    fn push(&mut self, batch: &[Item]) -> Result<()> {
        for item in batch {
            self.archive.push(&item.record, &[NameHash(item.name)], &item.accounts.map(NameHash));
        }
        if let Ok(done) = self.done.try_recv() {
            self.take(done)?;
        }
        while self.give()? && self.archive.backlog() > 2 {
            let done = self.done.recv()?;
            self.take(done)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.archive.rotate();
        while self.give()? {
            let done = self.done.recv()?;
            self.take(done)?;
        }
        Ok(())
    }

    fn has(&self, name: u64) -> Result<bool> {
        Ok(self.archive.find(NameHash(name), &mut |_, record| record.len() == RECORD_BYTES)?.is_some())
    }

    fn newest_of(&self, account: u64) -> Result<Option<u64>> {
        Ok(self.archive.view().touched_around(NameHash(account), u64::MAX - 1)?.at_or_before)
    }
}

/// An LSM tree.
struct Fjall {
    database: Database,
    names: Keyspace,
    touched: Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Result<Self> {
        let database = Database::builder(path).cache_size(CACHE_BYTES as u64).manual_journal_persist(true).open()?;
        let names = database.keyspace("names", KeyspaceCreateOptions::default)?;
        let touched = database.keyspace("touched", KeyspaceCreateOptions::default)?;
        Ok(Self { database, names, touched })
    }
}

impl Store for Fjall {
    fn push(&mut self, batch: &[Item]) -> Result<()> {
        let mut writes = self.database.batch();
        for item in batch {
            writes.insert(&self.names, item.name.to_be_bytes(), &item.record[..]);
            for account in item.accounts {
                writes.insert(&self.touched, account_key(account, item.ordinal), []);
            }
        }
        Ok(writes.commit()?)
    }

    fn settle(&mut self) -> Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        let mut quiet = 0;
        while quiet < 20 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let busy = self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    fn has(&self, name: u64) -> Result<bool> {
        Ok(self.names.get(name.to_be_bytes())?.is_some())
    }

    fn newest_of(&self, account: u64) -> Result<Option<u64>> {
        let Some(newest) = self.touched.prefix(account.to_be_bytes()).next_back() else { return Ok(None) };
        Ok(newest.key()?.last_chunk().map(|ordinal| u64::from_be_bytes(*ordinal)))
    }
}

const NAMES: TableDefinition<u64, &[u8]> = TableDefinition::new("names");
const TOUCHED: TableDefinition<(u64, u64), ()> = TableDefinition::new("touched");

/// A copy-on-write B-tree.
struct Redb {
    database: redb::Database,
    stored: u64,
}

impl Redb {
    fn open(path: &Path) -> Result<Self> {
        let database = redb::Database::builder().set_cache_size(CACHE_BYTES).create(path.join("redb"))?;
        Ok(Self { database, stored: 0 })
    }

    fn write(&self, batch: &[Item], durability: Durability) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut names = transaction.open_table(NAMES)?;
            let mut touched = transaction.open_table(TOUCHED)?;
            for item in batch {
                names.insert(item.name, &item.record[..])?;
                for account in item.accounts {
                    touched.insert((account, item.ordinal), ())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Store for Redb {
    fn push(&mut self, batch: &[Item]) -> Result<()> {
        self.stored += batch.len() as u64;
        let durable = self.stored.is_multiple_of(DURABLE_EVERY);
        self.write(batch, if durable { Durability::Immediate } else { Durability::None })
    }

    fn settle(&mut self) -> Result<()> {
        self.write(&[], Durability::Immediate)
    }

    fn has(&self, name: u64) -> Result<bool> {
        Ok(self.database.begin_read()?.open_table(NAMES)?.get(name)?.is_some())
    }

    fn newest_of(&self, account: u64) -> Result<Option<u64>> {
        let touched = self.database.begin_read()?.open_table(TOUCHED)?;
        let newest = touched.range((account, 0)..=(account, u64::MAX))?.next_back().transpose()?;
        Ok(newest.map(|(key, _)| key.value().1))
    }
}

/// User and system time of this process in ms; the kernel counts in hundredths of a second.
fn cpu_ms() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok((ticks(11) + ticks(12)) * 10)
}

fn written_bytes() -> Result<u64> {
    field("/proc/self/io", "wchar")
}

fn status_kb(name: &str) -> Result<u64> {
    field("/proc/self/status", name)
}

fn field(file: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(name)).ok_or("the system does not say")?;
    Ok(line.split_whitespace().nth(1).ok_or("the system does not say")?.parse()?)
}
