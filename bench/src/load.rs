//! The load generator: one thread, one epoll, requests encoded once, replies parsed no further than their end.
//!
//! It shares the machine's cores with the server it measures, so its own cost is kept small: no task per connection, no
//! timer per request, one read and one write per exchange.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::http::{self, Body};

/// What is sent and what the answers must say.
pub trait Workload {
    /// Appends the next request's bytes; `false` when there are no more.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;

    /// Judges an answer: how many transfers it stands for.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String>;
}

/// How the load is put on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections, each kept alive.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
    /// Send no more after this time.
    pub time_max: Duration,
    /// Requests in all at most.
    pub requests_max: u64,
    /// Requests a second in all; `None` = as fast as answers come. With a rate, latency counts from when the request
    /// was due, so that a stall is not hidden by what it keeps from being sent.
    pub rate: Option<f64>,
}

impl Plan {
    /// As fast as answers come, for a time.
    pub const fn timed(connections: usize, time_max: Duration) -> Self {
        Self { connections, in_flight: 1, time_max, requests_max: u64::MAX, rate: None }
    }

    /// As fast as answers come, until the workload has no more.
    pub const fn all(connections: usize, in_flight: usize) -> Self {
        Self { connections, in_flight, time_max: Duration::MAX, requests_max: u64::MAX, rate: None }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests answered.
    pub requests: u64,
    /// Transfers in answers that were as they should be.
    pub transfers: u64,
    /// Answers that were not as they should be.
    pub failures: u64,
    /// The first of these.
    pub first_failure: Option<String>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Microseconds from request to answer.
    pub latency_us: Histogram<u64>,
}

impl Outcome {
    /// Nothing measured yet.
    pub fn empty() -> Self {
        // One hour in microseconds, three digits.
        let latency_us =
            Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds that the crate allows");
        let elapsed = Duration::ZERO;
        Self { requests: 0, transfers: 0, failures: 0, first_failure: None, elapsed, latency_us }
    }

    /// Transfers a second.
    pub fn per_second(&self) -> f64 {
        self.transfers as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A quantile of the latency, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Counts one answer.
    pub fn count(&mut self, latency: Duration, judged: Result<u64, String>) {
        self.requests += 1;
        self.latency_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
        match judged {
            Ok(transfers) => self.transfers += transfers,
            Err(why) => {
                self.failures += 1;
                self.first_failure.get_or_insert(why);
            }
        }
    }
}

/// Puts the load on.
///
/// # Errors
/// Where the server can not be reached, closes a connection, or answers with what is no HTTP.
pub fn run(addr: SocketAddr, plan: Plan, workload: &mut dyn Workload) -> io::Result<Outcome> {
    Generator::connect(addr, plan, workload)?.run()
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// When each request in flight was sent, or was due.
    sent: VecDeque<Instant>,
}

struct Generator<'a> {
    plan: Plan,
    workload: &'a mut dyn Workload,
    poll: Poll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    outcome: Outcome,
    began: Instant,
    /// Requests sent so far.
    sent: u64,
    exhausted: bool,
    scratch: Vec<u8>,
}

impl<'a> Generator<'a> {
    fn connect(addr: SocketAddr, plan: Plan, workload: &'a mut dyn Workload) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let stream = std::net::TcpStream::connect(addr)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection {
                stream,
                input: Vec::with_capacity(4096),
                output: Vec::with_capacity(4096),
                written: 0,
                sent: VecDeque::with_capacity(plan.in_flight),
            });
        }
        Ok(Self {
            plan,
            workload,
            poll,
            connections,
            idle: VecDeque::new(),
            outcome: Outcome::empty(),
            began: Instant::now(),
            sent: 0,
            exhausted: false,
            scratch: vec![0; 256 * 1024],
        })
    }

    fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        self.began = Instant::now();
        for number in 0..self.connections.len() {
            self.refill(number)?;
        }
        while !(self.exhausted && self.in_flight() == 0) {
            let paced = self.plan.rate.is_some();
            self.poll.poll(&mut events, Some(if paced { Duration::ZERO } else { Duration::from_secs(1) }))?;
            for event in &events {
                let number = event.token().0;
                if event.is_writable() {
                    self.write(number)?;
                }
                if event.is_readable() {
                    self.read(number)?;
                }
            }
            if paced {
                self.start_what_is_due()?;
                if events.is_empty() {
                    // Epoll counts in milliseconds, too coarse for pacing.
                    std::thread::sleep(Duration::from_micros(50));
                }
            } else if self.began.elapsed() > self.plan.time_max {
                self.exhausted = true;
            }
        }
        self.outcome.elapsed = self.began.elapsed();
        Ok(self.outcome)
    }

    fn in_flight(&self) -> usize {
        self.connections.iter().map(|connection| connection.sent.len()).sum()
    }

    /// Keeps a connection busy: sends what fits in flight, or waits for its turn where there is a rate.
    fn refill(&mut self, number: usize) -> io::Result<()> {
        if self.plan.rate.is_some() {
            self.idle.push_back(number);
            return Ok(());
        }
        while self.connections[number].sent.len() < self.plan.in_flight {
            if !self.enqueue(number, Instant::now()) {
                break;
            }
        }
        self.write(number)
    }

    fn start_what_is_due(&mut self) -> io::Result<()> {
        let rate = self.plan.rate.unwrap_or(f64::MAX);
        if self.began.elapsed() > self.plan.time_max {
            self.exhausted = true;
        }
        while let Some(&number) = self.idle.front() {
            let due = self.began + Duration::from_secs_f64(self.sent as f64 / rate);
            if due > Instant::now() || !self.enqueue(number, due) {
                return Ok(());
            }
            self.idle.pop_front();
            self.write(number)?;
        }
        Ok(())
    }

    fn enqueue(&mut self, number: usize, when: Instant) -> bool {
        let connection = &mut self.connections[number];
        if self.exhausted || self.sent == self.plan.requests_max || !self.workload.next(&mut connection.output) {
            self.exhausted = true;
            return false;
        }
        self.sent += 1;
        connection.sent.push_back(when);
        true
    }

    fn write(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        while connection.written < connection.output.len() {
            match connection.stream.write(&connection.output[connection.written..]) {
                Ok(n) => connection.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        connection.output.clear();
        connection.written = 0;
        Ok(())
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        loop {
            let connection = &mut self.connections[number];
            let n = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection")),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            connection.input.extend_from_slice(&self.scratch[..n]);
            self.take_answers(number)?;
            // A short read emptied the socket; the next edge will tell of more.
            if n < self.scratch.len() {
                return Ok(());
            }
        }
    }

    fn take_answers(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        let mut at = 0;
        while let Some(head) = http::parse_head(&connection.input[at..]).map_err(io::Error::other)? {
            let Body::Length(length) = head.body else {
                return Err(io::Error::other("a chunked reply to a plain request"));
            };
            let body_at = at + head.body_at;
            let Some(body) = connection.input.get(body_at..body_at + length) else {
                break;
            };
            let Some(sent) = connection.sent.pop_front() else {
                return Err(io::Error::other("an answer nobody asked for"));
            };
            let judged = self.workload.answered(head.status, body);
            self.outcome.count(sent.elapsed(), judged);
            at = body_at + length;
        }
        if at > 0 {
            connection.input.drain(..at);
            self.refill(number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::workload::{Pairs, Transfers};

    /// A server that answers each request with 201, some with 503, two pieces at a time.
    fn stub() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || answer_all(stream.unwrap()));
            }
        });
        addr
    }

    fn answer_all(mut stream: std::net::TcpStream) {
        stream.set_nodelay(true).unwrap();
        let (mut buffer, mut chunk, mut number) = (Vec::new(), [0; 4096], 0);
        while let Ok(n @ 1..) = stream.read(&mut chunk) {
            buffer.extend_from_slice(&chunk[..n]);
            while let Some(end) = memchr::memmem::find(&buffer, br#""amount":1}"#) {
                buffer.drain(..end + br#""amount":1}"#.len());
                number += 1;
                let status = if number % 10 == 0 { "503 Service Unavailable" } else { "201 Created" };
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                let (first, second) = reply.split_at(20);
                if stream.write_all(first.as_bytes()).and_then(|()| stream.write_all(second.as_bytes())).is_err() {
                    return;
                }
            }
        }
    }

    fn check(plan: Plan) -> Outcome {
        let outcome = run(stub(), plan, &mut Transfers::new(Pairs::Random(10), 0, 1)).unwrap();
        assert_eq!(outcome.requests, outcome.transfers + outcome.failures);
        assert_eq!(outcome.latency_us.len(), outcome.requests);
        outcome
    }

    #[test]
    fn every_request_gets_one_answer_and_failures_are_counted() {
        for (connections, in_flight) in [(1, 1), (8, 1), (4, 5)] {
            let plan = Plan { requests_max: 1_000, ..Plan::all(connections, in_flight) };
            let outcome = check(plan);
            assert_eq!(outcome.requests, 1_000);
            assert!((90..=100).contains(&outcome.failures), "{}", outcome.failures);
            assert!(outcome.first_failure.unwrap().starts_with("503"));
        }
    }

    #[test]
    fn a_pace_is_kept() {
        let plan = Plan { rate: Some(1_000.0), ..Plan::timed(4, Duration::from_millis(300)) };
        let outcome = check(plan);
        // Fewer where the machine is busy; more never: one at the begin, and one for each millisecond that passed. How many
        // passed is for the clock to say, since the last look at it may come late.
        let most = 1 + outcome.elapsed.as_millis() as u64;
        assert!((1..=most).contains(&outcome.requests), "{} of {most}", outcome.requests);
    }

    #[test]
    fn a_server_that_goes_away_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || drop(listener.accept()));
        assert!(run(addr, Plan::all(1, 1), &mut Transfers::new(Pairs::Hot, 0, 1)).is_err());
    }
}
