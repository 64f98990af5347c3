//! A power cut: a loop-mounted ext4 is shut down without flushing its journal while clients pay, and what was acknowledged
//! is there afterwards.
//!
//! It needs root, loop devices and the shutdown ioctl of ext4; where one is missing it says `not run`, never `ok`.
//! `TERTIUM_POWER_CUTS` says how often (5), `TERTIUM_SEED` repeats a run's draws.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use fastrand::Rng;
use tertium_bench::process::{Launch, Server, release_binary, verify_log};
use tertium_bench::relay::{Faults, Relay};
use tertium_bench::storm::Storm;
use tertium_bench::storm::check::check;

const FAULTS: Faults = Faults { drop_reply: 0.02, duplicate: 0.01, delay: 0.0, delay_ms_max: 0 };

/// `FS_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`, with `EXT4_GOING_FLAGS_NOLOGFLUSH` = 2: nothing more reaches the disk, not
/// even the journal. Perl is part of every Debian, and calling an ioctl from here would need unsafe code.
const SHUTDOWN: &str = r#"open(my $d, "<", $ARGV[0]) or die "open: $!\n"; my $flags = pack("L", 2);
ioctl($d, 0x8004587D, $flags) or die "shutdown: $!\n";"#;

fn main() -> ExitCode {
    // The standard harness's way to ask what there is. A runner that knows only "ok" and "failed" cannot say of this one
    // that it was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let cuts = number("TERTIUM_POWER_CUTS").unwrap_or(5);
    let seed = number("TERTIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => return not_run(&error.to_string()),
    };
    if let Err(error) = rehearse(dir.path()) {
        return not_run(&error.to_string());
    }
    match run(dir.path(), cuts, seed) {
        Ok(report) => {
            println!("test power_cut ... ok ({report})\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("test power_cut ... FAILED\nTERTIUM_SEED={seed} TERTIUM_POWER_CUTS={cuts}: {error}");
            println!("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

fn not_run(why: &str) -> ExitCode {
    println!("not run: {why}");
    println!("test power_cut ... ignored, not run\n\ntest result: ok. 0 passed; 0 failed; 1 ignored");
    ExitCode::SUCCESS
}

/// Shows that this machine loses at a cut what was not synced, and keeps what was: otherwise a cut would prove nothing.
fn rehearse(dir: &Path) -> io::Result<()> {
    let disk = LoopDisk::create(&dir.join("rehearsal"), 64)?;
    let (synced, loose) = (disk.mount.join("synced"), disk.mount.join("loose"));
    std::fs::write(&synced, b"synced")?;
    std::fs::File::open(&synced)?.sync_all()?;
    std::fs::write(&loose, b"loose")?;
    disk.cut()?;
    disk.remount()?;
    if std::fs::read(&synced)? != b"synced" {
        return Err(io::Error::other("this file system loses at a cut what was synced"));
    }
    if std::fs::read(&loose).is_ok_and(|bytes| bytes == b"loose") {
        return Err(io::Error::other("this file system loses nothing at a cut"));
    }
    Ok(())
}

fn run(dir: &Path, cuts: u64, seed: u64) -> io::Result<String> {
    println!("TERTIUM_SEED={seed} TERTIUM_POWER_CUTS={cuts}");
    let binary = release_binary()?;
    let disk = LoopDisk::create(&dir.join("disk"), 2_048)?;
    let launch = Launch::new(&binary, &disk.mount.join("data"))?
        .with_log(&dir.join("server.log"))
        .with("--checkpoint-bytes", "1048576");
    let server = launch.start()?;
    let relay = Relay::start(launch.addr, FAULTS, seed)?;
    let storm = Storm { addr: relay.addr(), clients: 12, seed, pause_ms_max: 10 };
    let mut book = storm.prepare()?;
    let (mut slot, mut rng) = (Some(server), Rng::with_seed(seed));
    book.append(storm.rage(|| {
        for _ in 0..cuts {
            let Some(server) = slot.take() else { break };
            std::thread::sleep(Duration::from_millis(rng.u64(200..1_500)));
            slot = Some(cut_and_restart(server, &disk, &launch)?);
        }
        Ok(())
    })?);
    let checked = check(launch.addr, &book)?;
    drop(slot);
    Ok(format!("{cuts} cuts; {checked}"))
}

fn cut_and_restart(mut server: Server, disk: &LoopDisk, launch: &Launch) -> io::Result<Server> {
    disk.cut()?;
    // It may have stopped by itself at the first failed sync, as it should, or be idle still.
    server.end()?;
    drop(server);
    disk.remount()?;
    verify_log(&launch.binary, &launch.data)?;
    launch.start()
}

/// An ext4 in a file.
struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
}

impl LoopDisk {
    fn create(dir: &Path, mib: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir.join("mount"))?;
        let disk = Self { image: dir.join("image"), mount: dir.join("mount") };
        std::fs::File::create(&disk.image)?.set_len(mib << 20)?;
        command(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> io::Result<()> {
        command(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }

    /// Nothing written and not yet synced gets to the image any more.
    fn cut(&self) -> io::Result<()> {
        command(Command::new("perl").args(["-e", SHUTDOWN]).arg(&self.mount))
    }

    /// Mounts what the cut left, replaying its journal.
    fn remount(&self) -> io::Result<()> {
        command(Command::new("umount").arg(&self.mount))?;
        self.attach()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily, so that a server still dying does not keep it.
        let _ = command(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

fn command(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{command:?}: {}: {why}", output.status)))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
