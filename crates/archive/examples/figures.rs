//! What the archive costs: `cargo run --release -p tertium-archive --example figures -- [records] [accounts] [directory]`.
//!
//! Pushes records as a ledger would (about 150 bytes, one name, two accounts touched), with jobs on a second thread, and
//! prints what each step took. Defaults: 20 million records, 1 million accounts, a temporary directory.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use disk::{Disk, Mode, RealDisk};
use machine::{Archive, NameHash};
use tertium_archive::{DiskArchive, Done, Job, Options};

const RECORD_BYTES: usize = 150;
/// Large enough that the kernel's clock ticks do not matter.
const BATCH: usize = 50_000;
const LOOKUPS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| arguments.get(place).map_or(Ok(default), |text| text.parse::<u64>());
    let (records, accounts) = (number(0, 20_000_000)?, number(1, 1_000_000)?);
    let temporary = tempfile::tempdir()?;
    let root = arguments.get(2).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    println!("{records} records of {RECORD_BYTES} bytes, {accounts} accounts");
    let disk = Arc::new(RealDisk::open(root)?);
    let mut archive = DiskArchive::open(Arc::clone(&disk) as _, 0, Options::default())?;
    push_all(&mut archive, records, accounts)?;
    println!("archive's own count of memory: {} MB", archive.memory_bytes() / 1_000_000);
    println!("resident, not counting the disk cache: {} MB", resident_bytes() / 1_000_000);
    println!("files: {}", disk.list(tertium_archive::DIRECTORY)?.len());
    let written: u64 = disk.bytes_written().iter().map(|(_, bytes)| bytes).sum();
    let per_record = |bytes: u64| bytes as f64 / records as f64;
    println!(
        "written per record beyond the record: {:.1} bytes (its segments alone: {:.1})",
        per_record(written) - RECORD_BYTES as f64,
        per_record(archive.record_file_bytes()) - RECORD_BYTES as f64
    );
    for (kind, extension) in [("records", ".rec"), ("names", ".names"), ("touches", ".touched")] {
        println!("{kind}: {:.1} bytes a record on the disk", per_record(kept_bytes(disk.as_ref(), extension)?));
    }
    let sealed = archive.sealed_upto();
    look_up(&archive, sealed);
    drop(archive);
    let start = Instant::now();
    let archive = DiskArchive::open(disk, sealed, Options::default())?;
    println!("open: {} ms", start.elapsed().as_millis());
    println!("memory of the sealed part: {:.1} bytes a record", per_record(archive.memory_bytes() as u64));
    drop_caches(sealed, &archive)
}

/// Of the files that are there now, by the end of their names.
fn kept_bytes(disk: &RealDisk, extension: &str) -> std::io::Result<u64> {
    let files = disk.list(tertium_archive::DIRECTORY)?;
    let files = files.iter().filter(|file| file.ends_with(extension));
    files.map(|file| disk.open(&format!("{}/{file}", tertium_archive::DIRECTORY), Mode::Read)?.len()).sum()
}

/// The archive with its jobs on a second thread.
struct Worker {
    jobs: mpsc::SyncSender<Job>,
    done: mpsc::Receiver<(Done, u64)>,
    running: bool,
    cpu_ns: u64,
}

impl Worker {
    fn new() -> Self {
        let (jobs, to_do) = mpsc::sync_channel::<Job>(1);
        let (to_archive, done) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for job in to_do {
                let start = cpu_ns();
                let done = job.run();
                if to_archive.send((done, cpu_ns() - start)).is_err() {
                    break;
                }
            }
        });
        Self { jobs, done, running: false, cpu_ns: 0 }
    }

    fn give(&mut self, archive: &mut DiskArchive) -> Result<bool, Box<dyn Error>> {
        if let Some(job) = archive.next_job() {
            self.jobs.send(job)?;
            self.running = true;
        }
        Ok(self.running)
    }

    fn take(&mut self, archive: &mut DiskArchive, (done, cpu_ns): (Done, u64)) -> Result<(), Box<dyn Error>> {
        self.running = false;
        self.cpu_ns += cpu_ns;
        archive.finish(done)?;
        archive.set_floor(archive.sealed_upto());
        Ok(())
    }
}

/// Time is CPU time of the thread that pushes: what it waits for, and what others do on the machine, is not in it.
fn push_all(archive: &mut DiskArchive, records: u64, accounts: u64) -> Result<(), Box<dyn Error>> {
    let mut worker = Worker::new();
    let mut random = fastrand::Rng::with_seed(1);
    let mut record = [7_u8; RECORD_BYTES];
    let (mut pushing_ns, mut resident_max) = (0, 0);
    let begin = Instant::now();
    for start in (0..records).step_by(BATCH) {
        let hashes: Vec<[NameHash; 3]> = (start..records.min(start + BATCH as u64))
            .map(|at| [hash(at, 0), hash(random.u64(0..accounts), 1), hash(random.u64(0..accounts), 1)])
            .collect();
        let cpu = cpu_ns();
        for (at, [name, touched @ ..]) in (start..).zip(&hashes) {
            record[..8].copy_from_slice(&at.to_le_bytes());
            archive.push(&record, &[*name], touched);
        }
        pushing_ns += cpu_ns() - cpu;
        if let Ok(done) = worker.done.try_recv() {
            worker.take(archive, done)?;
        }
        while worker.give(archive)? && archive.backlog() > 2 {
            let done = worker.done.recv()?;
            worker.take(archive, done)?;
        }
        resident_max = resident_bytes().max(resident_max);
    }
    archive.rotate();
    while worker.give(archive)? {
        let done = worker.done.recv()?;
        worker.take(archive, done)?;
    }
    println!("push: {} ns of CPU", pushing_ns / records);
    println!("jobs: {} ns of CPU a record", worker.cpu_ns / records);
    println!("in all {:.1} s; resident at most {} MB", begin.elapsed().as_secs_f64(), resident_max / 1_000_000);
    Ok(())
}

fn look_up(archive: &DiskArchive, records: u64) {
    let mut random = fastrand::Rng::with_seed(2);
    let absent: Vec<NameHash> = (0..LOOKUPS).map(|_| hash(random.u64(..), 2)).collect();
    let mut shown = 0_u64;
    let start = cpu_ns();
    for name in &absent {
        let found = archive.find(*name, &mut |_, _| {
            shown += 1;
            false
        });
        black_box(found.is_ok());
    }
    println!("find of an absent name: {} ns of CPU ({shown} shown)", (cpu_ns() - start) / LOOKUPS);
    timed("find of a present name, files in the disk cache", archive, records, 200_000);
}

fn timed(what: &str, archive: &DiskArchive, records: u64, lookups: u64) {
    let mut random = fastrand::Rng::with_seed(3);
    let (start, cpu) = (Instant::now(), cpu_ns());
    let mut found = 0;
    for _ in 0..lookups {
        let ordinal = random.u64(0..records);
        let is_it = &mut |at: u64, record: &[u8]| at == ordinal && record.starts_with(&ordinal.to_le_bytes());
        found += u64::from(archive.find(hash(ordinal, 0), is_it) == Ok(Some(ordinal)));
    }
    assert_eq!(found, lookups, "each name is found");
    let wall_ns = start.elapsed().as_nanos() / u128::from(lookups);
    println!("{what}: {wall_ns} ns, {} of them CPU", (cpu_ns() - cpu) / lookups);
}

/// Cold lookups need the right to drop the disk cache; without it they are left out, and that is said.
fn drop_caches(records: u64, archive: &DiskArchive) -> Result<(), Box<dyn Error>> {
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "1") {
        println!("find of a present name, cold: not run ({error})");
        return Ok(());
    }
    timed("find of a present name, cold", archive, records, 2_000);
    Ok(())
}

/// A hash as good as the machine's: of what, in a space of its own.
fn hash(of: u64, space: u64) -> NameHash {
    NameHash(xxhash_rust::xxh3::xxh3_64_with_seed(&of.to_le_bytes(), space))
}

/// CPU time of this thread; zero where the system does not say.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    stat.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Zero where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
