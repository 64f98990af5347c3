//! A trivial HTTP handler: what a durable call costs besides what it does, and a destination that is down.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A handler that answers every request alike. It ends with the process.
#[derive(Debug)]
pub struct Handler {
    addr: SocketAddr,
    handled: Arc<AtomicU64>,
}

impl Handler {
    /// Listens on loopback, and answers with `201 {}`.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub fn start() -> io::Result<Self> {
        Self::answering("201 Created")
    }

    /// The same with another status line.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub fn answering(status: &str) -> io::Result<Self> {
        let answer: Arc<[u8]> = answer(status).into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let handler = Self { addr: listener.local_addr()?, handled: Arc::default() };
        let handled = Arc::clone(&handler.handled);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handled, answer) = (Arc::clone(&handled), Arc::clone(&answer));
                // A connection that breaks has nobody to be told.
                thread::spawn(move || drop(answer_all(stream, &handled, &answer)));
            }
        });
        Ok(handler)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many requests it answered.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }
}

fn answer(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes()
}

fn answer_all(mut stream: TcpStream, handled: &AtomicU64, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut chunk) = (Vec::new(), [0; 8 << 10]);
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(length) = request_bytes(&buffer) {
            buffer.drain(..length);
            handled.fetch_add(1, Ordering::Relaxed);
            stream.write_all(answer)?;
        }
    }
}

/// The bytes of the first request, if all of it is there.
fn request_bytes(buffer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let lower = buffer[..head].to_ascii_lowercase();
    let name = b"content-length: ";
    let length = memchr::memmem::find(&lower, name).map_or(0, |at| {
        let digits = lower[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0'))
    });
    (buffer.len() >= head + length).then_some(head + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let one = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(request_bytes(one), Some(one.len()));
        assert_eq!(request_bytes(&one[..one.len() - 1]), None);
        assert_eq!(request_bytes(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        let handler = Handler::start().unwrap();
        let mut stream = TcpStream::connect(handler.addr()).unwrap();
        stream.write_all(&one.repeat(3)).unwrap();
        let mut answers = vec![0; 3 * answer("201 Created").len()];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(handler.handled(), 3);
    }
}
