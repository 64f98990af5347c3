//! A server in this process, and a client so simple that it can also do what no decent client does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tertium_server::config::Config;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    runtime: tokio::runtime::Runtime,
    running: Option<tertium_server::Running>,
    config: Config,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(edit: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { data: directory.path().join("data"), ..Config::default() };
        config.listen.set_port(0);
        config.cell.segment_bytes = 1 << 20;
        // The names that requests here are sent to.
        config.hosts = vec!["test".to_owned(), "t".to_owned()];
        edit(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(tertium_server::start(config.clone())).unwrap();
        let address = running.address();
        Self { runtime, running: Some(running), config, address, _directory: directory }
    }

    /// Starts it again on a log that something stands before.
    pub(crate) fn restart_on(
        &mut self,
        open_log: impl FnOnce(cell::OpenLog) -> Result<Box<dyn log::Log>, log::LogError> + Send + 'static,
    ) {
        self.stop();
        let running = self.runtime.block_on(tertium_server::start_on(self.config.clone(), open_log)).unwrap();
        self.address = running.address();
        self.running = Some(running);
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        let running = self.runtime.block_on(tertium_server::start(self.config.clone())).unwrap();
        self.address = running.address();
        self.running = Some(running);
    }

    /// Starts it again with other settings.
    pub(crate) fn restart_with(&mut self, edit: impl FnOnce(&mut Config)) {
        edit(&mut self.config);
        self.restart();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }

    /// Lets go of the running server, for tests that stop it while doing something else.
    pub(crate) fn take(&mut self) -> (tertium_server::Running, &tokio::runtime::Runtime) {
        (self.running.take().unwrap(), &self.runtime)
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().request("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        self.connect().post(path, key, &[], body)
    }

    /// The newest entry applied: what changed nothing leaves it as it was.
    pub(crate) fn position(&self) -> String {
        let answer = self.get("/readyz");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["position"].as_str().unwrap().to_owned()
    }

    /// Opens `world` without a floor, and the others with none but it to take from.
    pub(crate) fn open(&self, ids: &[&str]) {
        for id in ["world"].iter().chain(ids) {
            let floor = if *id == "world" { "null" } else { "0" };
            let body = format!(r#"{{"id":"{id}","unit":"GBP","floor":{floor}}}"#);
            let answer = self.post("/v1/accounts", &format!("open-{id}"), &body);
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// Opens accounts beside those that are there.
    pub(crate) fn open_more(&self, ids: &[&str]) {
        for id in ids {
            let answer = self.post("/v1/accounts", &format!("open-{id}"), &format!(r#"{{"id":"{id}","unit":"GBP"}}"#));
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    pub(crate) fn transfer(&self, key: &str, from: &str, to: &str, amount: u64) -> Answer {
        self.post("/v1/transfers", key, &transfer(from, to, amount))
    }

    pub(crate) fn balance(&self, id: &str) -> i64 {
        self.get(&format!("/v1/accounts/{id}")).json()["balance"].as_i64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn transfer(from: &str, to: &str, amount: u64) -> String {
    format!(r#"{{"from":"{from}","to":"{to}","amount":{amount}}}"#)
}

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

impl Client<TcpStream> {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn finish_sending(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            // Cut off by the server before: there is nothing left to finish.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            done => done.unwrap(),
        }
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn post(&mut self, path: &str, key: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/json"), ("idempotency-key", key)];
        all.extend_from_slice(headers);
        self.request("POST", path, &all, body)
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(request(method, path, headers, body.as_bytes()));
        self.receive()
    }

    /// The next answer; the one to a HEAD request is not for this.
    pub(crate) fn receive(&mut self) -> Answer {
        self.try_receive().expect("an answer")
    }

    /// The next answer, or `None` if the server closes the connection before there is one.
    pub(crate) fn try_receive(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read_more() == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.next_chunk() {
                answer.body.extend(chunk);
            }
        } else {
            let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            while self.buffer.len() < length {
                assert!(self.read_more() > 0, "the body ended early");
            }
            answer.body = self.buffer.drain(..length).collect();
        }
        Some(answer)
    }

    /// The head of a streamed answer: its chunks are then taken one by one.
    pub(crate) fn receive_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    pub(crate) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.read_until("\r\n").trim(), 16).unwrap();
        while self.buffer.len() < size + 2 {
            assert!(self.read_more() > 0, "a chunk ended early");
        }
        let chunk = self.buffer.drain(..size + 2).take(size).collect();
        (size > 0).then_some(chunk)
    }

    /// What is left until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// That many bytes, whatever they are.
    pub(crate) fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.read_more() > 0, "the connection ended early");
        }
        self.buffer.drain(..count).collect()
    }

    fn read_until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                return String::from_utf8(self.buffer.drain(..at + end.len()).collect()).unwrap();
            }
            assert!(self.read_more() > 0, "the connection ended early");
        }
    }

    fn read_more(&mut self) -> usize {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part) {
            Ok(length) => {
                self.buffer.extend_from_slice(&part[..length]);
                length
            }
            // Cut off by the server: as good as closed.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem; empty for everything else.
    pub(crate) fn code(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        self.json()["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.header("tertium-outcome").unwrap_or_default()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
