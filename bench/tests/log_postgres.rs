//! A release server whose log is in PostgreSQL: the server killed with -9, the database crashed, its sessions ended; nothing that was
//! acknowledged is lost, and nothing happens twice.
//!
//! `TERTIUM_FAULTS` says how many there are (45), `TERTIUM_SEED` repeats a run's draws, `TERTIUM_BIN` names the server. Where
//! PostgreSQL is not installed it says `not run`, never `ok`.

use std::io;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use own_postgres::{Cluster, USER};
use tertium_bench::call::Client;
use tertium_bench::process::{Launch, Server, release_binary};
use tertium_bench::relay::{Faults, Relay};
use tertium_bench::storm::Storm;
use tertium_bench::storm::check::check;
use tokio_postgres::NoTls;

const REPLIES: Faults = Faults { drop_reply: 0.05, duplicate: 0.02, delay: 0.02, delay_ms_max: 20 };

const NAME: &str = "nothing_acknowledged_is_lost_with_the_log_in_postgresql";

fn main() -> ExitCode {
    // The standard harness's way to ask what there is: a runner that knows only "ok" and "failed" cannot say of this one that it
    // was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let faults = number("TERTIUM_FAULTS").unwrap_or(45);
    let seed = number("TERTIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TERTIUM_SEED={seed} TERTIUM_FAULTS={faults}");
    let dir = tempfile::tempdir().expect("a directory for the test");
    let cluster = match Cluster::start(dir.path(), &["max_connections=40", "shared_buffers=32MB"]) {
        Ok(cluster) => cluster,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("not run: {error}\ntest {NAME} ... ignored, not run");
            println!("\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&error),
    };
    match run(cluster, dir.path(), faults, seed) {
        Ok(()) => {
            println!("test {NAME} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    println!("{error}\ntest {NAME} ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
    ExitCode::FAILURE
}

fn run(mut cluster: Cluster, dir: &Path, faults: u64, seed: u64) -> io::Result<()> {
    let url = cluster.url();
    let launch_on = |data: &str| -> io::Result<Launch> {
        let launch = Launch::new(&release_binary()?, &dir.join(data))?;
        Ok(launch.with("--log", &url).with("--checkpoint-bytes", "2097152"))
    };
    let launch = launch_on("data")?;
    let server = launch.start()?;
    let relay = Relay::start(launch.addr, REPLIES, seed)?;
    let storm = Storm { addr: relay.addr(), clients: 16, seed, pause_ms_max: 20 };
    let mut book = storm.prepare()?;
    let (mut slot, mut told) = (Some(server), [0_u64; 3]);
    let began = Instant::now();
    let mut rng = Rng::with_seed(seed ^ 0x7067_6C6F);
    book.append(storm.rage(|| {
        for number in 0..faults {
            std::thread::sleep(Duration::from_millis(rng.u64(20..700)));
            let fault = (number % 3) as usize;
            told[fault] += 1;
            match fault {
                0 => slot = slot.take().map(kill_and_restart).transpose()?,
                1 => end_sessions(&cluster)?,
                _ => {
                    cluster.crash()?;
                    std::thread::sleep(Duration::from_millis(rng.u64(0..300)));
                    cluster.start_again()?;
                }
            }
        }
        Ok(())
    })?);
    let raged = began.elapsed();
    let mut server = slot.ok_or_else(|| io::Error::other("the server is gone"))?;
    if let Some(status) = server.ended()? {
        return Err(io::Error::other(format!("the server ended by itself: {status}")));
    }
    let checked = check(server.addr(), &book)?;
    let launch = server.kill()?;
    let mut server = launch.start()?;
    assert_eq!(check(server.addr(), &book)?, checked, "the same after one more kill");
    let elsewhere = launch_on("elsewhere")?.start()?;
    assert_eq!(check(elsewhere.addr(), &book)?, checked, "the same on a machine that has nothing but the log");
    let status = deposed(&mut server)?;
    assert_eq!(status.code(), Some(70), "the first one is fenced off, and ends");
    let counts = relay.counts();
    println!(
        "{} kills of the server, {} times its sessions in the database ended, {} crashes of the database in {raged:.1?}; {} \
         operations definite in {} requests; {} of {} replies dropped",
        told[0],
        told[1],
        told[2],
        book.deeds.len(),
        book.requests,
        counts.dropped.load(Ordering::Relaxed),
        counts.replies.load(Ordering::Relaxed),
    );
    println!("{checked}");
    Ok(())
}

/// Asks a server for something that it may only say while it leads, and waits for its end.
fn deposed(server: &mut Server) -> io::Result<ExitStatus> {
    let began = Instant::now();
    loop {
        // Whatever it says, it must not be an account.
        let answer = Client::new(server.addr(), Duration::from_secs(3)).get("/v1/accounts/world%2Fpoint");
        if let Some(answer) = answer.ok().filter(|answer| answer.status == 200) {
            return Err(io::Error::other(format!("a server that does not lead any more answered {answer}")));
        }
        if let Some(status) = server.ended()? {
            return Ok(status);
        }
        if began.elapsed() > Duration::from_secs(30) {
            return Err(io::Error::other("a server that does not lead any more goes on"));
        }
    }
}

fn kill_and_restart(server: Server) -> io::Result<Server> {
    server.kill()?.start()
}

/// Ends whatever session the server has in the database, whatever it is doing.
fn end_sessions(cluster: &Cluster) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(cluster.socket()).user(USER).dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.map_err(io::Error::other)?;
        let serving = tokio::spawn(connection);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tertium'";
        let ended = client.batch_execute(end).await.map_err(io::Error::other);
        serving.abort();
        ended
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
