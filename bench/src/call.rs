//! A blocking HTTP client that never hides what happened: an answer, or that none came.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::http::{self, Body, Dechunker};

/// A reply, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, as sent.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What the server says became of the operation.
    pub fn outcome(&self) -> &str {
        self.header("tertium-outcome").unwrap_or_default()
    }

    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The problem's code; empty where the body is no problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.outcome(), String::from_utf8_lossy(&self.body))
    }
}

/// Codes of refusals that are not remembered: the same key may be tried again.
const TRY_AGAIN: [&str; 9] = [
    "deadline-exceeded",
    "outcome-unknown",
    "overloaded",
    "too-many-requests",
    "storage-full",
    "log-unavailable",
    "not-leader",
    "stopping",
    "consistency-unavailable",
];

/// One connection at a time, opened again after a failure.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// A client of this address that waits this long for a reply.
    pub fn new(addr: SocketAddr, patience: Duration) -> Self {
        Self { addr, patience, stream: None, buffer: Vec::new() }
    }

    /// Sends a write.
    ///
    /// # Errors
    /// Whatever kept the answer from coming: whether the write happened is then not known.
    pub fn post(&mut self, path: &str, key: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(256 + body.len());
        http::put_post(&mut request, path, key, body);
        self.exchange(&request)
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub fn post_with(
        &mut self,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(512);
        http::put_write(&mut request, "POST", path, key, headers, body.to_string().as_bytes());
        self.exchange(&request)
    }

    /// Sends a write that makes a thing what it is to be.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub fn put(&mut self, path: &str, key: &str, body: &serde_json::Value) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(512);
        http::put_write(&mut request, "PUT", path, key, &[], body.to_string().as_bytes());
        self.exchange(&request)
    }

    /// Sends a read.
    ///
    /// # Errors
    /// Whatever kept the answer from coming.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(128);
        http::put_get(&mut request, path);
        self.exchange(&request)
    }

    /// Sends a request's bytes and waits for the reply. A failure closes the connection; the next exchange opens another.
    ///
    /// # Errors
    /// Whatever kept the answer from coming.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(request)?;
        let (answer, keep) = read_answer(&mut stream, &mut self.buffer)?;
        self.stream = keep.then_some(stream);
        Ok(answer)
    }

    /// Sends the same request, with its key, until the answer says for good what became of it. Says too how often it
    /// was sent.
    ///
    /// # Errors
    /// `TimedOut` where that takes longer than `time_max`, with what came last.
    pub fn definite(&mut self, request: &[u8], rng: &mut Rng, time_max: Duration) -> io::Result<(Answer, u32)> {
        let began = Instant::now();
        for sent in 1.. {
            let last = match self.exchange(request) {
                Ok(answer) if answer.outcome() == "uncertain" => answer.to_string(),
                Ok(answer) if answer.status >= 400 && TRY_AGAIN.contains(&answer.code().as_str()) => answer.to_string(),
                Ok(answer) => return Ok((answer, sent)),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > time_max {
                let text = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
                let why = format!("nothing definite in {time_max:?} ({sent} times sent): {last}\nrequest: {text}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            // Full jitter, so that clients cut off together do not come back together.
            std::thread::sleep(Duration::from_millis(rng.u64(0..=10 * u64::from(sent.min(5)))));
        }
        Err(io::Error::other("sent more than four thousand million times"))
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.addr, self.patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        self.buffer.clear();
        Ok(stream)
    }
}

/// Reads one reply; `buffer` carries what came after it into the next call. Says too whether the connection stays.
///
/// # Errors
/// `UnexpectedEof` where the connection ended first, `InvalidData` where it is no reply, whatever the system says.
fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(Answer, bool)> {
    let invalid = |bad: http::BadReply| io::Error::new(io::ErrorKind::InvalidData, bad);
    let head = loop {
        if let Some(head) = http::parse_head(buffer).map_err(invalid)? {
            break head;
        }
        read_more(stream, buffer)?;
    };
    let headers = http::headers(&buffer[..head.body_at])
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    buffer.drain(..head.body_at);
    let body = match head.body {
        Body::Length(length) => {
            while buffer.len() < length {
                read_more(stream, buffer)?;
            }
            buffer.drain(..length).collect()
        }
        Body::Chunked => {
            let (mut dechunker, mut body) = (Dechunker::default(), Vec::new());
            loop {
                let used = dechunker.feed(buffer, &mut body).map_err(invalid)?;
                buffer.drain(..used);
                if dechunker.is_done() {
                    break body;
                }
                read_more(stream, buffer)?;
            }
        }
    };
    Ok((Answer { status: head.status, headers, body }, head.keep_alive))
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            buffer.extend_from_slice(&chunk[..n]);
            Ok(())
        }
    }
}
