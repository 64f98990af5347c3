//! What the disk itself can do: one prewritten 4 KiB append with fdatasync.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

/// The size of one append.
pub const APPEND_BYTES: usize = 4096;

/// Appends this many times to a prewritten file in this directory, each with its own fdatasync; microseconds each. The
/// file is removed.
///
/// # Errors
/// Whatever the system says.
pub fn append_and_sync(dir: &Path, appends: usize) -> io::Result<Histogram<u64>> {
    let path = dir.join("probe");
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
    let zeros = vec![0_u8; 1 << 20];
    let total = appends * APPEND_BYTES;
    for at in (0..total).step_by(zeros.len()) {
        file.write_all_at(&zeros[..zeros.len().min(total - at)], at as u64)?;
    }
    file.sync_all()?;
    let mut append = vec![0_u8; APPEND_BYTES];
    let mut times = Histogram::new(3).expect("three digits are allowed");
    for number in 0..appends {
        append[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        let began = Instant::now();
        file.write_all_at(&append, (number * APPEND_BYTES) as u64)?;
        file.sync_data()?;
        times.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path)?;
    Ok(times)
}
