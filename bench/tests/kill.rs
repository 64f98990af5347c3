//! A release server, killed with -9 at random moments under many clients whose replies get lost, forgets nothing it
//! acknowledged and does nothing twice.
//!
//! `TERTIUM_KILLS` says how often it is killed (100), `TERTIUM_SEED` repeats a run's draws, `TERTIUM_BIN` names the server.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tertium_bench::process::{Launch, Server, release_binary, verify_log};
use tertium_bench::relay::{Faults, Relay};
use tertium_bench::storm::Storm;
use tertium_bench::storm::check::check;

const FAULTS: Faults = Faults { drop_reply: 0.05, duplicate: 0.02, delay: 0.02, delay_ms_max: 20 };

/// After so many kills the log is verified while the server is down.
const VERIFY_EVERY: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let kills = number("TERTIUM_KILLS").unwrap_or(100);
    let seed = number("TERTIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TERTIUM_SEED={seed} TERTIUM_KILLS={kills}");
    if let Err(error) = run(kills, seed) {
        panic!("TERTIUM_SEED={seed} TERTIUM_KILLS={kills}: {error}");
    }
}

fn run(kills: u64, seed: u64) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let binary = release_binary()?;
    // Small enough that the kills meet checkpoints, sealed segments and new log files too.
    let launch = Launch::new(&binary, &dir.path().join("data"))?.with("--checkpoint-bytes", "2097152");
    let server = launch.start()?;
    let relay = Relay::start(launch.addr, FAULTS, seed)?;
    let storm = Storm { addr: relay.addr(), clients: 16, seed, pause_ms_max: 20 };
    let mut book = storm.prepare()?;
    let (mut slot, mut restarts) = (Some(server), Vec::new());
    let began = Instant::now();
    let mut rng = Rng::with_seed(seed ^ 0x6B69_6C6C);
    book.append(storm.rage(|| {
        for number in 1..=kills {
            let Some(server) = slot.take() else { break };
            slot = Some(kill_and_restart(server, number, &mut rng, &mut restarts)?);
        }
        Ok(())
    })?);
    let raged = began.elapsed();
    let server = slot.ok_or_else(|| io::Error::other("the server is gone"))?;
    let checked = check(server.addr(), &book)?;
    let launch = server.kill()?;
    verify_log(&binary, &launch.data)?;
    let server = launch.start()?;
    assert_eq!(check(server.addr(), &book)?, checked, "the same after one more kill");
    restarts.sort();
    let counts = relay.counts();
    println!(
        "{kills} kills in {raged:.1?}; {} operations definite in {} requests; {} of {} replies dropped, {} requests \
         duplicated; restart to ready {:?} at the median, {:?} at most",
        book.deeds.len(),
        book.requests,
        counts.dropped.load(Ordering::Relaxed),
        counts.replies.load(Ordering::Relaxed),
        counts.duplicated.load(Ordering::Relaxed),
        restarts.get(restarts.len() / 2),
        restarts.last(),
    );
    println!("{checked}");
    Ok(())
}

/// Lets it live for a moment, kills it, starts it again; now and then it is killed again while it starts.
fn kill_and_restart(server: Server, number: u64, rng: &mut Rng, restarts: &mut Vec<Duration>) -> io::Result<Server> {
    std::thread::sleep(Duration::from_millis(rng.u64(20..700)));
    let launch = server.kill()?;
    if number.is_multiple_of(VERIFY_EVERY) {
        verify_log(&launch.binary, &launch.data)?;
    }
    while rng.u32(0..6) == 0 {
        let starting = launch.spawn()?;
        std::thread::sleep(Duration::from_millis(rng.u64(0..40)));
        starting.kill()?;
    }
    let mut server = launch.spawn()?;
    restarts.push(server.wait_ready()?);
    Ok(server)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
