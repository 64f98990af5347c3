//! A postman who keeps the first letter to himself: a request that was sent, was not answered, and arrives when nobody
//! expects it any more.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::call::{Answer, Client};

/// The longest anybody here waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes one request, and closes the connection without a word.
#[derive(Debug)]
pub struct Postman {
    addr: SocketAddr,
    kept: Receiver<Vec<u8>>,
}

impl Postman {
    /// Begins to wait for the request.
    ///
    /// # Errors
    /// Where there is no port for it.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let (sender, kept) = channel();
        std::thread::spawn(move || -> io::Result<()> {
            let (stream, _) = listener.accept()?;
            // Nobody may be left to deliver it.
            drop(sender.send(take(stream)?));
            Ok(())
        });
        Ok(Self { addr, kept })
    }

    /// Where he is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Brings the request to whom it was for, and gives what they answer.
    ///
    /// # Errors
    /// Where he has none, or is not answered.
    pub fn deliver(self, to: SocketAddr) -> io::Result<Answer> {
        let request = self.kept.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        Client::new(to, PATIENCE).exchange(&request)
    }
}

/// One request with its body, whole.
fn take(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut request, mut part) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if request.len() >= end + 4 + length.unwrap_or(0) {
                return Ok(request);
            }
        }
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&part[..length]),
        }
    }
}
