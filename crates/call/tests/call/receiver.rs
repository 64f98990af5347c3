//! A receiver that misbehaves as it is told, and counts what it carried out: a request is carried out when all of it came.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use call::{Call, Client, DestinationSettings, Report, Settings};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Heads of all requests that were carried out.
    pub(crate) heads: Mutex<Vec<String>>,
    pub(crate) connections: AtomicUsize,
    /// Bytes sent, where a behaviour counts them.
    pub(crate) bytes_sent: AtomicUsize,
    /// Connections that the other side closed, likewise.
    pub(crate) closed: AtomicUsize,
}

impl Receiver {
    /// Does that to each connection.
    pub(crate) async fn start<F>(behave: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(Peer { stream, seen: Arc::clone(&counts), buffer: Vec::new() }));
            }
        });
        Self { address, seen, task }
    }

    /// Answers each request on each connection with that.
    pub(crate) async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    if peer.send(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    pub(crate) fn executions(&self) -> usize {
        self.seen.heads.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The values of a header, request by request.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let heads = self.seen.heads.lock().unwrap();
        heads.iter().map(|head| header_of(head, name).unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/effect", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) seen: Arc<Seen>,
    buffer: Vec<u8>,
}

impl Peer {
    /// Reads one whole request and carries it out.
    pub(crate) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                let body: usize = header_of(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                if self.buffer.len() >= end + 4 + body {
                    self.buffer.drain(..end + 4 + body);
                    self.seen.heads.lock().unwrap().push(head.clone());
                    return Some(head);
                }
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.seen.bytes_sent.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Says nothing until the other side is gone.
    pub(crate) async fn silent(mut self) {
        while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0) {}
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

pub(crate) fn header_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

/// An answer with that status and an empty body.
pub(crate) fn answer(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n{headers}\r\n")
}

pub(crate) fn client(change: impl FnOnce(&mut DestinationSettings)) -> Client {
    let mut settings = Settings::default();
    // Every destination of a test may retry at once; what the budget does is tested where it is the question.
    settings.budget.floor = 100;
    settings.destination.budget.floor = 100;
    change(&mut settings.destination);
    Client::new(settings).unwrap()
}

/// A call that changes something, without a key.
pub(crate) fn effect(url: &str) -> Call {
    let mut call = Call::new(Method::POST, url.parse().unwrap());
    call.body = Bytes::from_static(b"{\"amount\":1}");
    call.deadline = Duration::from_millis(400);
    call
}

pub(crate) fn keyed(url: &str) -> Call {
    let mut call = effect(url);
    call.key = Some(words::Key::new("order-17/pay").unwrap());
    call
}

/// The verdict in words, with numbers of bytes left out.
pub(crate) fn told(report: &Report) -> String {
    let text = report.verdict.to_string();
    let words = text.split(' ').map(|word| if word.parse::<u64>().is_ok_and(|n| n > 999) { "N" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    match text.split_once(" after ") {
        Some((before, _)) => format!("{before} after N bytes were written"),
        None => text,
    }
}
