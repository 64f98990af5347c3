//! A TCP relay on loopback that loses replies, delays and duplicates, by a seeded choice, and is byte-exact otherwise.
//!
//! A reply begins with the server's first bytes after the client's last. A dropped reply is read from the server and then
//! both sides are closed: the request was carried out and the client can not know. Some are torn instead: their first half
//! still arrives. A duplicated request is sent a second time over a connection of its own, whose reply nobody reads.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// How often what goes wrong, each per reply or per request.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Share of replies that do not arrive (0.0 to 1.0).
    pub drop_reply: f64,
    /// Share of requests sent twice.
    pub duplicate: f64,
    /// Share of replies that come late.
    pub delay: f64,
    /// How late at most.
    pub delay_ms_max: u64,
}

/// What went through.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Replies that began.
    pub replies: AtomicU64,
    /// Of these, dropped or torn.
    pub dropped: AtomicU64,
    /// Of these, delayed.
    pub delayed: AtomicU64,
    /// Requests sent twice.
    pub duplicated: AtomicU64,
}

/// A running relay; it stops accepting when dropped.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
}

/// The buffer of one direction: larger than any single request or reply of the tests but batches.
const CHUNK_BYTES: usize = 64 * 1024;

impl Relay {
    /// Relays to `target`. The same seed draws the same faults for the n-th connection.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub fn start(target: SocketAddr, faults: Faults, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let relay = Self { addr: listener.local_addr()?, counts: Arc::default(), stopping: Arc::default() };
        let (counts, stopping) = (relay.counts.clone(), relay.stopping.clone());
        thread::spawn(move || {
            for (client, number) in listener.incoming().zip(0_u64..) {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let counts = counts.clone();
                let rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                thread::spawn(move || carry(client, target, faults, rng, counts));
            }
        });
        Ok(relay)
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What went through so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; where it can not be reached it is gone already.
        let _ = TcpStream::connect(self.addr);
    }
}

/// What the two directions of one connection share.
struct Link {
    client: TcpStream,
    server: TcpStream,
    target: SocketAddr,
    faults: Faults,
    counts: Arc<Counts>,
    /// The client has said something since the server last did.
    asked: AtomicBool,
}

impl Link {
    fn close(&self) {
        // A side that is closed already is as wanted.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn carry(client: TcpStream, target: SocketAddr, faults: Faults, mut rng: Rng, counts: Arc<Counts>) {
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    // Without it the relay only gets slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let link = Arc::new(Link { client, server, target, faults, counts, asked: AtomicBool::new(false) });
    let (upward, upward_rng) = (link.clone(), rng.fork());
    thread::spawn(move || {
        // An error is an end: both sides are closed, which is all a relay can say.
        let _ = carry_requests(&upward, upward_rng);
        upward.close();
    });
    let _ = carry_replies(&link, rng);
    link.close();
}

fn carry_requests(link: &Link, mut rng: Rng) -> io::Result<()> {
    let (mut from, mut to) = (&link.client, &link.server);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = from.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        if rng.f64() < link.faults.duplicate {
            link.counts.duplicated.fetch_add(1, Ordering::Relaxed);
            let (target, request) = (link.target, chunk[..n].to_vec());
            // The twin's fate is nobody's business.
            thread::spawn(move || drop(send_and_forget(target, &request)));
        }
        link.asked.store(true, Ordering::Relaxed);
        to.write_all(&chunk[..n])?;
    }
}

fn carry_replies(link: &Link, mut rng: Rng) -> io::Result<()> {
    let (mut from, mut to) = (&link.server, &link.client);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = from.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        if link.asked.swap(false, Ordering::Relaxed) {
            link.counts.replies.fetch_add(1, Ordering::Relaxed);
            if rng.f64() < link.faults.drop_reply {
                link.counts.dropped.fetch_add(1, Ordering::Relaxed);
                let torn = if rng.bool() { 0 } else { n / 2 };
                return to.write_all(&chunk[..torn]);
            }
            if rng.f64() < link.faults.delay {
                link.counts.delayed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(rng.u64(0..=link.faults.delay_ms_max)));
            }
        }
        to.write_all(&chunk[..n])?;
    }
}

fn send_and_forget(target: SocketAddr, request: &[u8]) -> io::Result<()> {
    let mut twin = TcpStream::connect(target)?;
    twin.set_read_timeout(Some(Duration::from_secs(2)))?;
    twin.write_all(request)?;
    twin.shutdown(Shutdown::Write)?;
    io::copy(&mut twin, &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Faults = Faults { drop_reply: 0.0, duplicate: 0.0, delay: 0.0, delay_ms_max: 0 };

    /// A server that answers each line with the same line, and counts the lines.
    fn echo() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, lines) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = lines.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = counted.clone();
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut buffer = vec![0; CHUNK_BYTES];
                    while let Ok(n) = stream.read(&mut buffer) {
                        // Counted before it is answered: whoever has the answer must find it counted.
                        let newlines = buffer[..n].iter().filter(|b| **b == b'\n').count();
                        counted.fetch_add(newlines as u64, Ordering::SeqCst);
                        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (addr, lines)
    }

    fn ask(stream: &mut TcpStream, line: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(line)?;
        let mut reply = vec![0; line.len()];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    }

    #[test]
    fn without_faults_it_is_byte_exact() {
        let (target, _) = echo();
        let relay = Relay::start(target, NONE, 1).unwrap();
        let mut stream = TcpStream::connect(relay.addr()).unwrap();
        let mut sent = vec![0_u8; 1 << 20];
        Rng::with_seed(3).fill(&mut sent);
        let copy = sent.clone();
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).unwrap();
        writing.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn a_dropped_reply_was_carried_out() {
        let (target, lines) = echo();
        let faults = Faults { drop_reply: 1.0, ..NONE };
        let relay = Relay::start(target, faults, 2).unwrap();
        let mut stream = TcpStream::connect(relay.addr()).unwrap();
        assert!(ask(&mut stream, b"pay\n").is_err());
        assert_eq!(lines.load(Ordering::SeqCst), 1);
        assert_eq!(relay.counts().dropped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn replies_are_dropped_about_as_often_as_asked() {
        let (target, _) = echo();
        let faults = Faults { drop_reply: 0.05, delay: 0.1, delay_ms_max: 1, ..NONE };
        let relay = Relay::start(target, faults, 4).unwrap();
        let mut lost = 0;
        let mut stream = TcpStream::connect(relay.addr()).unwrap();
        for _ in 0..1_000 {
            if ask(&mut stream, b"x\n").is_err() {
                lost += 1;
                stream = TcpStream::connect(relay.addr()).unwrap();
            }
        }
        assert!((20..=90).contains(&lost), "{lost} of 1,000 lost");
        assert!(relay.counts().delayed.load(Ordering::SeqCst) > 20);
    }

    #[test]
    fn a_duplicated_request_arrives_twice() {
        let (target, lines) = echo();
        let faults = Faults { duplicate: 1.0, ..NONE };
        let relay = Relay::start(target, faults, 5).unwrap();
        let mut stream = TcpStream::connect(relay.addr()).unwrap();
        assert_eq!(ask(&mut stream, b"pay\n").unwrap(), b"pay\n");
        let mut seen = 0;
        for _ in 0..500 {
            seen = lines.load(Ordering::SeqCst);
            if seen == 2 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(seen, 2);
    }
}
