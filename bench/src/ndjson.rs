//! The NDJSON stream: one request whose lines are transfers, answered line by line while it is still being sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::http::{self, Dechunker};
use crate::load::Outcome;
use crate::workload::{Keys, Pairs, put_item};

/// Lines to one chunk of the request.
const CHUNK_LINES: u64 = 1_000;

/// How long nothing may come back before the stream counts as dead.
const SILENCE: Duration = Duration::from_secs(30);

/// Sends this many transfers on one connection, at most `window` lines ahead of the answers. Latency is the time
/// from one arrival of answers to the next.
///
/// # Errors
/// Where the connection ends early or the reply is no stream of lines.
pub fn run(addr: SocketAddr, pairs: Pairs, transfers: u64, window: u64, seed: u64) -> io::Result<Outcome> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let window = Arc::new(Window { size: window, answered: Mutex::new(0), moved: Condvar::new() });
    let began = Instant::now();
    let sending = {
        let (stream, window) = (stream.try_clone()?, window.clone());
        std::thread::spawn(move || send(stream, pairs, transfers, &window, seed))
    };
    let mut outcome = receive(stream, transfers, &window, began)?;
    sending.join().map_err(|_| io::Error::other("the sending thread panicked"))??;
    outcome.elapsed = began.elapsed();
    Ok(outcome)
}

/// How far the sender may run ahead.
struct Window {
    size: u64,
    answered: Mutex<u64>,
    moved: Condvar,
}

impl Window {
    fn wait_for_room(&self, sent: u64) -> io::Result<()> {
        let poisoned = || io::Error::other("the receiving thread panicked");
        let mut answered = self.answered.lock().map_err(|_| poisoned())?;
        while sent - *answered > self.size {
            let (guard, waited) = self.moved.wait_timeout(answered, SILENCE).map_err(|_| poisoned())?;
            if waited.timed_out() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            answered = guard;
        }
        Ok(())
    }

    fn answered(&self, lines: u64) {
        if let Ok(mut answered) = self.answered.lock() {
            *answered = lines;
            self.moved.notify_one();
        }
    }
}

fn send(mut stream: TcpStream, pairs: Pairs, transfers: u64, window: &Window, seed: u64) -> io::Result<()> {
    let mut rng = Rng::with_seed(seed);
    let (mut keys, mut key) = (Keys::new(&mut rng), String::new());
    let head = "POST /v1/transfers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                X-Request-Deadline: 60s\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let (mut sent, mut lines, mut chunk) = (0, Vec::new(), Vec::new());
    while sent < transfers {
        let count = CHUNK_LINES.min(transfers - sent);
        lines.clear();
        for _ in 0..count {
            keys.next(&mut key);
            put_item(&mut lines, &key, pairs.draw(&mut rng));
            lines.push(b'\n');
        }
        chunk.clear();
        write!(chunk, "{:x}\r\n", lines.len())?;
        chunk.extend_from_slice(&lines);
        chunk.extend_from_slice(b"\r\n");
        stream.write_all(&chunk)?;
        sent += count;
        window.wait_for_room(sent)?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn receive(mut stream: TcpStream, transfers: u64, window: &Window, began: Instant) -> io::Result<Outcome> {
    let mut outcome = Outcome::empty();
    let (mut buffer, mut head) = (vec![0; 256 * 1024], Vec::new());
    let (mut dechunker, mut content, mut lines) = (Dechunker::default(), Vec::new(), 0);
    let mut in_body = false;
    let mut last = began;
    while !dechunker.is_done() {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("after {lines} answers")));
        }
        if in_body {
            dechunker.feed(&buffer[..n], &mut content).map_err(io::Error::other)?;
        } else {
            head.extend_from_slice(&buffer[..n]);
            let Some(parsed) = http::parse_head(&head).map_err(io::Error::other)? else { continue };
            if parsed.status != 200 || parsed.body != http::Body::Chunked {
                return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
            }
            in_body = true;
            dechunker.feed(&head[parsed.body_at..], &mut content).map_err(io::Error::other)?;
        }
        let Some(end) = memchr::memrchr(b'\n', &content) else { continue };
        let (whole, now) = (&content[..=end], Instant::now());
        let committed = memchr::memmem::find_iter(whole, br#""outcome":"committed""#).count() as u64;
        let answered = memchr::memchr_iter(b'\n', whole).count() as u64;
        let why = || String::from_utf8_lossy(&whole[..whole.len().min(300)]).into_owned();
        outcome.count(now - last, if committed == answered { Ok(committed) } else { Err(why()) });
        last = now;
        lines += answered;
        window.answered(lines);
        content.drain(..=end);
    }
    if lines == transfers {
        return Ok(outcome);
    }
    Err(io::Error::other(format!("{lines} answers to {transfers} lines")))
}
