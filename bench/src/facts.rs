//! The machine a figure was measured on.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What a reader needs in order to compare figures.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Processors the system has online.
    pub cores: usize,
    /// What the processor calls itself.
    pub cpu: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// File system and device under the data.
    pub file_system: String,
    /// The command that measured.
    pub command: String,
}

impl Facts {
    /// This machine's; the file system is that of `dir`.
    pub fn of(dir: &Path) -> Self {
        let kernel = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: after_colon("/proc/cpuinfo", "model name"),
            memory_mib: after_colon("/proc/meminfo", "MemTotal")
                .split_whitespace()
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: format!("{} {}", kernel("ostype").trim(), kernel("osrelease").trim()),
            file_system: file_system(dir),
            command: std::env::args().collect::<Vec<_>>().join(" "),
        }
    }
}

fn after_colon(file: &str, name: &str) -> String {
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// The mount with the longest path that `dir` lies under.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?, fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(_, point, ..)| dir.starts_with(point))
        .max_by_key(|(_, point, ..)| point.len())
        .map_or_else(
            || "unknown".to_owned(),
            |(device, point, kind, options)| format!("{kind} on {device} at {point} ({options})"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_and_a_file_system() {
        let facts = Facts::of(Path::new("/proc/self"));
        assert!(facts.cores > 0 && facts.memory_mib > 0);
        assert!(facts.file_system.starts_with("proc on"), "{}", facts.file_system);
    }
}
