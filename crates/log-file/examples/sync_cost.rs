//! What one durable append costs on a disk, by size and by way: `cargo run --release -p tertium-log-file --example
//! sync_cost [directory]`. The figures behind docs/adr/0002-log-sync.md.

use disk::RealDisk;
use log::{Append, Log, Upkeep};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, io};
use tertium_log_file::{LogFile, LogOptions};
use words::CellName;

/// Linux, on x86-64 and on most others; the values differ on some (arm64 has O_DIRECT 0o200000).
const O_DIRECT: i32 = if cfg!(target_arch = "aarch64") { 0o200_000 } else { 0o40_000 };
const O_DSYNC: i32 = 0o10_000;
const BLOCK_BYTES: usize = 4096;
const FILE_BYTES: u64 = 64 << 20;
const FRAMES: [usize; 6] = [300, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const BUDGET: Duration = Duration::from_millis(1500);

/// One way to make an append durable.
struct Way {
    name: &'static str,
    flags: i32,
    sync: bool,
    /// Each write starts at a whole block, as direct writes must; else frames follow each other every 8 bytes.
    aligned: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "write + fdatasync, packed", flags: 0, sync: true, aligned: false },
    Way { name: "write + fdatasync, aligned", flags: 0, sync: true, aligned: true },
    Way { name: "O_DSYNC, aligned", flags: O_DSYNC, sync: false, aligned: true },
    Way { name: "O_DIRECT|O_DSYNC, aligned", flags: O_DIRECT | O_DSYNC, sync: false, aligned: true },
];

fn main() -> io::Result<()> {
    let dir = env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&dir).join("sync-cost.tmp");
    prewrite(&path)?;
    println!("{:<28} {:>10} {:>8} {:>8} {:>8} {:>9}", "way", "frame B", "p50 us", "p99 us", "max us", "MiB/s");
    // The sizes in turn for each way, twice, so that a slow moment of the machine does not fall on one of them alone.
    for frame in FRAMES {
        let mut times: Vec<Vec<Duration>> = WAYS.iter().map(|_| Vec::new()).collect();
        for _ in 0..4 {
            for (way, times) in WAYS.iter().zip(&mut times) {
                measure(&path, way, frame, times)?;
            }
        }
        for (way, times) in WAYS.iter().zip(&mut times) {
            report(way.name, frame, times);
        }
    }
    fs::remove_file(&path)?;
    let root = Path::new(&dir).join("sync-cost-log");
    for frame in FRAMES {
        let mut times = Vec::new();
        measure_log(&root, frame, &mut times);
        report("LogFile::append", frame, &mut times);
        fs::remove_dir_all(&root)?;
    }
    Ok(())
}

fn report(way: &str, frame: usize, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let total: Duration = times.iter().sum();
    let rate = (times.len() * frame) as f64 / total.as_secs_f64() / f64::from(1 << 20);
    println!("{way:<28} {frame:>10} {:>8.0} {:>8.0} {:>8.0} {rate:>9.1}", at(0.5), at(0.99), at(1.0));
}

/// The whole append: checksum, chain, copy, write; segments are prepared on another thread and recycled.
fn measure_log(root: &Path, frame: usize, times: &mut Vec<Duration>) {
    let disk = Arc::new(RealDisk::open(root).expect("a directory of its own"));
    let cell = CellName::new("main").expect("a name");
    let (mut log, _) = LogFile::open(disk, LogOptions::new(cell, 1)).expect("a new log");
    let (preparer, entry) = (log.preparer(), vec![7; frame]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                preparer.wait(Duration::from_millis(20));
                preparer.run_once().expect("a disk that works");
            }
        });
        let (begun, mut tail) = (Instant::now(), log.tail().expect("tail"));
        while begun.elapsed() < BUDGET {
            let started = Instant::now();
            let Append::Ok(position) = log.append(tail, 1, &entry) else { panic!("a disk that works") };
            times.push(started.elapsed());
            tail = position;
            if tail.index.is_multiple_of(64) {
                log.trim(tail.index.saturating_sub(64)).expect("trim");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn prewrite(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()
}

fn measure(path: &Path, way: &Way, frame: usize, times: &mut Vec<Duration>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).custom_flags(way.flags).open(path)?;
    let step = if way.aligned { frame.next_multiple_of(BLOCK_BYTES) } else { (frame + 40).next_multiple_of(8) };
    let write = if way.aligned { step } else { frame + 40 };
    // Direct writes need an aligned buffer: a larger one is cut at the first whole block.
    let mut memory = vec![0u8; write + BLOCK_BYTES];
    let start = memory.as_ptr().align_offset(BLOCK_BYTES);
    let buffer = &mut memory[start..start + write];
    let begun = Instant::now();
    let mut at = BLOCK_BYTES as u64;
    for round in 0..4000u64 {
        if begun.elapsed() > BUDGET / 4 {
            break;
        }
        buffer[..8].copy_from_slice(&round.to_le_bytes());
        if at + write as u64 > FILE_BYTES {
            at = BLOCK_BYTES as u64;
        }
        let started = Instant::now();
        file.write_all_at(buffer, at)?;
        if way.sync {
            file.sync_data()?;
        }
        times.push(started.elapsed());
        at += step as u64;
    }
    Ok(())
}
