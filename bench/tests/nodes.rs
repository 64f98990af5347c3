//! Three release servers on one log in PostgreSQL: written to through all of them while the leader is killed, stopped and replaced; and
//! reads at followers that say how old they are, and are not older.
//!
//! `TERTIUM_KILLS` says how many times the leader is killed (5), `TERTIUM_SEED` repeats a run's draws, `TERTIUM_BIN` names the server.
//! Where PostgreSQL is not installed it says `not run`, never `ok`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use own_postgres::Cluster;
use tertium_bench::call::{Answer, Client};
use tertium_bench::http;
use tertium_bench::process::{Launch, Server, release_binary};
use tertium_bench::storm::Storm;
use tertium_bench::storm::check::check;

const NAME: &str = "nodes_lose_nothing_double_nothing_and_say_how_old_their_reads_are";

const NODES: [&str; 3] = ["a", "b", "c"];

/// Longer than anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // The standard harness's way to ask what there is; see `log_postgres`.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let kills = number("TERTIUM_KILLS").unwrap_or(5);
    let seed = number("TERTIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TERTIUM_SEED={seed} TERTIUM_KILLS={kills}");
    let dir = tempfile::tempdir().expect("a directory for the test");
    let cluster = match Cluster::start(dir.path(), &["max_connections=60", "shared_buffers=32MB"]) {
        Ok(cluster) => cluster,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("not run: {error}\ntest {NAME} ... ignored, not run");
            println!("\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&error),
    };
    match run(&cluster, dir.path(), kills, seed) {
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

fn run(cluster: &Cluster, dir: &Path, kills: u64, seed: u64) -> io::Result<()> {
    let mut nodes = Nodes::start(cluster, dir)?;
    nodes.refuse_a_second_one(cluster, dir)?;
    let door = Door::open(nodes.servers.iter().map(Server::addr).collect())?;
    let storm = Storm { addr: door.addr, clients: 12, seed, pause_ms_max: 20 };
    let mut book = storm.prepare()?;
    let readers = Readers::start(nodes.servers.iter().map(Server::addr).collect());
    book.append(storm.rage(|| {
        let mut away = Vec::new();
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(1_000));
            away.push(nodes.kill_leader()?);
        }
        tell("a leader was killed, and the next write was acknowledged after", &mut away);
        let p50 = away[away.len() / 2];
        if p50 > Duration::from_secs(2) {
            return Err(io::Error::other(format!("writes were away for {p50:?}, half of the times")));
        }
        nodes.stop_leader_for(Duration::from_secs(3))?;
        let mut away = (0..6).map(|_| nodes.hand_over()).collect::<io::Result<Vec<_>>>()?;
        tell("the lead was handed over, and the longest a write took was", &mut away);
        // No lease is waited out.
        match away.last() {
            Some(longest) if *longest >= Duration::from_millis(1_000) => {
                Err(io::Error::other(format!("a hand-over took writes away for {longest:?}")))
            }
            _ => Ok(()),
        }
    })?);
    let (told, acknowledged) = readers.stop()?;
    println!("{told}");
    nodes.check_tally(acknowledged)?;
    let checked: Vec<_> = nodes.servers.iter().map(|node| check(node.addr(), &book)).collect::<io::Result<_>>()?;
    if checked.iter().any(|one| *one != checked[0]) {
        return Err(io::Error::other(format!("not the same at all nodes: {checked:?}")));
    }
    println!(
        "{} operations definite in {} requests; at each of 3 nodes {}",
        book.deeds.len(),
        book.requests,
        checked[0]
    );
    Ok(())
}

/// Prints half, most and all of some times.
fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    println!("{} times {what}: p50 {:?}, at most {:?}", times.len(), times[times.len() / 2], times[times.len() - 1]);
}

struct Nodes {
    servers: Vec<Server>,
    writes: u64,
}

impl Nodes {
    fn start(cluster: &Cluster, dir: &Path) -> io::Result<Self> {
        let spawned = NODES.map(|node| launch(cluster, dir, node, node)?.spawn());
        let mut servers = spawned.into_iter().collect::<io::Result<Vec<_>>>()?;
        for server in &mut servers {
            server.wait_ready()?;
        }
        Ok(Self { servers, writes: 0 })
    }

    /// A node of a name that another has is refused, and changes nothing.
    fn refuse_a_second_one(&self, cluster: &Cluster, dir: &Path) -> io::Result<()> {
        let epoch = ready(self.servers[self.leader()?].addr())?["epoch"].as_u64();
        let second = launch(cluster, dir, "a", "second")?;
        let mut server = second.spawn()?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = server.ended()? {
                break status;
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("a second node of one name goes on"));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let told = std::fs::read_to_string(&second.log)?;
        if status.code() != Some(78) || !told.contains("another process is the node a of this cell") {
            return Err(io::Error::other(format!("a second node of one name: {status}: {told}")));
        }
        match ready(self.servers[self.leader()?].addr())?["epoch"].as_u64() {
            same if same == epoch => Ok(()),
            other => Err(io::Error::other(format!("a second node of one name made epoch {other:?} of {epoch:?}"))),
        }
    }

    /// Which one leads.
    fn leader(&self) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            let leads = |server: &Server| {
                ready(server.addr()).is_ok_and(|ready| ready["role"] == "leader" && ready["ready"] == true)
            };
            if let Some(at) = self.servers.iter().position(leads) {
                return Ok(at);
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("nobody leads"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A write under a key of its own, at one node, until it is acknowledged.
    fn write(&mut self, at: usize) -> io::Result<(Answer, Duration)> {
        self.writes += 1;
        let body = format!(r#"{{"id":"probe/{}","unit":"probe"}}"#, self.writes);
        let mut request = Vec::new();
        http::put_post(&mut request, "/v1/accounts", &format!("probe/{}", self.writes), body.as_bytes());
        let began = Instant::now();
        let mut client = Client::new(self.servers[at].addr(), Duration::from_secs(3));
        let (answer, _) = client.definite(&request, &mut fastrand::Rng::new(), PATIENCE)?;
        if answer.status == 201 {
            return Ok((answer, began.elapsed()));
        }
        Err(io::Error::other(format!("a write at {}: {answer}", NODES[at])))
    }

    /// Kills the leader and starts it again once another leads. Says for how long no write was acknowledged.
    fn kill_leader(&mut self) -> io::Result<Duration> {
        let leader = self.leader()?;
        self.servers[leader].kill_in_place()?;
        let (_, away) = self.write((leader + 1) % NODES.len())?;
        let launch = self.servers[leader].launch().clone();
        self.servers[leader] = launch.start()?;
        Ok(away)
    }

    /// Stops the leader's process, lets it go on after another leads, and asks it to write: it acknowledges nothing of its own.
    fn stop_leader_for(&mut self, pause: Duration) -> io::Result<()> {
        let leader = self.leader()?;
        let epoch_before = ready(self.servers[leader].addr())?["epoch"].as_u64().unwrap_or_default();
        self.servers[leader].signal("STOP")?;
        let stopped = Instant::now();
        let (answer, away) = self.write((leader + 1) % NODES.len())?;
        std::thread::sleep(pause.saturating_sub(stopped.elapsed()));
        self.servers[leader].signal("CONT")?;
        let (zombie, _) = self.write(leader)?;
        for answer in [answer, zombie] {
            let position = answer.header("tertium-position").unwrap_or_default();
            let epoch = position.split(':').nth(1).and_then(|epoch| epoch.parse::<u64>().ok()).unwrap_or_default();
            if epoch <= epoch_before {
                return Err(io::Error::other(format!("epoch {epoch_before} was over: {answer}, at {position}")));
            }
        }
        println!(
            "a leader was stopped for {pause:?}: writes were away for {away:?}, and it acknowledged nothing after it"
        );
        self.servers[leader].wait_ready().map(drop)
    }

    /// Each of the writer's payments happened once, and every node knows.
    fn check_tally(&self, acknowledged: usize) -> io::Result<()> {
        for server in &self.servers {
            let answer = Client::new(server.addr(), Duration::from_secs(10)).get("/v1/accounts/tally")?;
            if answer.json()["balance"].as_u64() != Some(acknowledged as u64) {
                return Err(io::Error::other(format!("{acknowledged} payments were acknowledged: {answer}")));
            }
        }
        Ok(())
    }

    /// Hands the lead to the next node, while one client writes. Says how long the longest of its writes took.
    fn hand_over(&mut self) -> io::Result<Duration> {
        let leader = self.leader()?;
        let (to, other) = ((leader + 1) % NODES.len(), (leader + 2) % NODES.len());
        let mut client = Client::new(self.servers[other].addr(), Duration::from_secs(10));
        let answer = client.post(&format!("/v1/nodes/{}/promote", NODES[to]), "unused", b"")?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("promoting {}: {answer}", NODES[to])));
        }
        let (mut longest, began) = (Duration::ZERO, Instant::now());
        while ready(self.servers[to].addr())?["role"] != "leader" || began.elapsed() < Duration::from_millis(200) {
            longest = longest.max(self.write(other)?.1);
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{} does not lead", NODES[to])));
            }
        }
        Ok(longest)
    }
}

fn launch(cluster: &Cluster, dir: &Path, node: &str, data: &str) -> io::Result<Launch> {
    let launch = Launch::new(&release_binary()?, &dir.join(data))?;
    let advertise = format!("http://{}", launch.addr);
    let launch = launch.with("--log", &cluster.url());
    Ok(launch.with("--node", node).with("--advertise", &advertise).with("--checkpoint-bytes", "2097152"))
}

fn ready(addr: SocketAddr) -> io::Result<serde_json::Value> {
    Client::new(addr, Duration::from_secs(1)).get("/readyz").map(|answer| answer.json())
}

/// A door to all nodes in turn: one connection to each, and the next where that fails.
struct Door {
    addr: SocketAddr,
}

impl Door {
    fn open(to: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        // It ends with the process.
        std::thread::spawn(move || {
            for (number, from) in listener.incoming().enumerate() {
                let Ok(from) = from else { continue };
                let (here, next) = (to[number % to.len()], to[(number + 1) % to.len()]);
                let connect = |addr| TcpStream::connect_timeout(&addr, Duration::from_secs(1));
                let Ok(to) = connect(here).or_else(|_| connect(next)) else { continue };
                let _ = to.set_nodelay(true);
                let _ = from.set_nodelay(true);
                for (mut from, mut to) in [(from.try_clone(), to.try_clone()), (Ok(to), Ok(from))]
                    .into_iter()
                    .filter_map(|(from, to)| Some((from.ok()?, to.ok()?)))
                {
                    std::thread::spawn(move || {
                        // Whichever side ends, the other hears of it.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Ok(Self { addr })
    }
}

/// One client that writes, and clients that read at all nodes: what each sees never goes back within its session, and a read that
/// says how old it is holds everything that was acknowledged before that.
struct Readers {
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<io::Result<()>>>,
    counts: Arc<[AtomicUsize; 3]>,
}

/// When each write of the one writer was acknowledged.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

impl Readers {
    fn start(addrs: Vec<SocketAddr>) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Acknowledged::default());
        let counts = Arc::<[AtomicUsize; 3]>::default();
        let mut threads = Vec::new();
        let (writer, told, to) = (Arc::clone(&stop), Arc::clone(&acknowledged), addrs.clone());
        threads.push(std::thread::spawn(move || write_until(&writer, &to, &told)));
        for reader in 0..2 {
            let (stop, told, counts, addrs) =
                (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&counts), addrs.clone());
            threads.push(std::thread::spawn(move || read_until(&stop, &addrs, &told, &counts, reader)));
        }
        Self { acknowledged, stop, threads, counts }
    }

    /// What was read, and how many writes were acknowledged.
    fn stop(self) -> io::Result<(String, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| io::Error::other("a reader panicked"))??;
        }
        let [eventual, session, linearizable] = [0, 1, 2].map(|at| self.counts[at].load(Ordering::Relaxed));
        if eventual.min(session).min(linearizable) == 0 {
            return Err(io::Error::other(format!("some level was never read: {eventual}, {session}, {linearizable}")));
        }
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
        let told = format!(
            "{eventual} eventual reads no older than they said, {session} session reads that never went back, {linearizable} \
             linearizable reads with all that was acknowledged"
        );
        Ok((told, acknowledged))
    }
}

/// Pays one to `tally`, again and again, through all nodes.
fn write_until(stop: &AtomicBool, addrs: &[SocketAddr], acknowledged: &Acknowledged) -> io::Result<()> {
    let mut rng = fastrand::Rng::new();
    let send = |path: &str, key: &str, body: String, at: usize| {
        let mut request = Vec::new();
        http::put_post(&mut request, path, key, body.as_bytes());
        let (mut rng, began) = (fastrand::Rng::new(), Instant::now());
        // A node that is killed is not there for a while: the same key goes to the next one.
        for tried in at.. {
            let mut client = Client::new(addrs[tried % addrs.len()], Duration::from_secs(2));
            match client.definite(&request, &mut rng, Duration::from_millis(500)) {
                Ok((answer, _)) if answer.status == 201 => return Ok(()),
                Ok((answer, _)) => return Err(io::Error::other(format!("{key}: {answer}"))),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    };
    for (id, floor) in [("tally/from", "null"), ("tally", "0")] {
        send("/v1/accounts", id, format!(r#"{{"id":"{id}","unit":"tally","floor":{floor}}}"#), 0)?;
    }
    for number in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = r#"{"from":"tally/from","to":"tally","amount":1}"#.to_owned();
        send("/v1/transfers", &format!("tally/{number}"), body, number)?;
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        std::thread::sleep(Duration::from_millis(rng.u64(0..5)));
    }
    Ok(())
}

fn read_until(
    stop: &AtomicBool,
    addrs: &[SocketAddr],
    acknowledged: &Acknowledged,
    counts: &[AtomicUsize; 3],
    reader: u64,
) -> io::Result<()> {
    let mut rng = fastrand::Rng::with_seed(reader);
    let mut clients: Vec<_> = addrs.iter().map(|addr| Client::new(*addr, Duration::from_secs(3))).collect();
    let (mut session, mut seen) = (String::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(rng.u64(0..4)));
        let at = rng.usize(0..addrs.len());
        let level = rng.usize(0..3);
        let mut request = format!(
            "GET /v1/accounts/tally HTTP/1.1\r\nHost: localhost\r\nTertium-Consistency: {}\r\nX-Request-Deadline: 2s\r\n",
            ["eventual", "session", "linearizable"][level],
        );
        if level == 1 && !session.is_empty() {
            request.push_str(&format!("Tertium-Session: {session}\r\n"));
        }
        request.push_str("\r\n");
        let sent = Instant::now();
        // A node that is down, or can not tell in time, is asked again another time.
        let Ok(answer) = clients[at].exchange(request.as_bytes()) else { continue };
        let Some(balance) = answer.json()["balance"].as_u64().filter(|_| answer.status == 200) else { continue };
        let staleness = answer.header("tertium-staleness-ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let staleness = staleness.ok_or_else(|| io::Error::other(format!("a read without staleness: {answer}")))?;
        counts[level].fetch_add(1, Ordering::Relaxed);
        let told = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.iter().filter(|at| **at + staleness < sent).count() as u64;
        drop(told);
        if balance < before {
            let level = request.lines().nth(2).unwrap_or_default();
            return Err(io::Error::other(format!(
                "at {} {level} saw {balance} of {before} writes acknowledged {staleness:?} before it was sent",
                NODES[at]
            )));
        }
        if level == 1 {
            if balance < seen {
                return Err(io::Error::other(format!("a session saw {balance} at {} after {seen}", NODES[at])));
            }
            seen = balance;
            answer.header("tertium-session").unwrap_or_default().clone_into(&mut session);
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
