//! The gRPC stream: packed frames of many transfers, many frames in flight, over HTTP/2 without a gRPC stack in between.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fastrand::Rng;
use machine::Order;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use wire::frames::FrameEncoder;
use wire::proto::{AnswerFrame, FramesIn, FramesOut, TransferFrame};
use words::Amount;

use crate::load::Outcome;
use crate::workload::{Keys, Pairs};

/// Bytes the server may send ahead of what was read here.
const WINDOW_BYTES: u32 = 16 << 20;

/// An answer's place in a packed frame: after the head, 56 bytes each, its outcome first (see `AnswerFrame`).
const ANSWERS_AT: usize = 4;
const ANSWER_BYTES: usize = 56;
const COMMITTED: u8 = 1;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Between these accounts.
    pub pairs: Pairs,
    /// So many in all.
    pub transfers: u64,
    /// So many to a frame, at most 8,192.
    pub items: u64,
    /// Frames in flight.
    pub in_flight: usize,
    /// For keys and accounts.
    pub seed: u64,
}

/// Sends them on one stream of one connection. Latency is per frame.
///
/// # Errors
/// Where the connection or the stream ends early, or an answer is no answer.
pub fn run(addr: SocketAddr, plan: Plan) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(exchange(addr, plan))
}

async fn exchange(addr: SocketAddr, plan: Plan) -> io::Result<Outcome> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(1 << 20)
        .handshake::<_, Bytes>(tcp)
        .await
        .map_err(io::Error::other)?;
    // Its error reaches the stream too.
    tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::post(format!("http://{addr}/tertium.v1.Tertium/TransferStream"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "1H")
        .body(())
        .map_err(io::Error::other)?;
    let mut client = client.ready().await.map_err(io::Error::other)?;
    let (response, sending) = client.send_request(request, false).map_err(io::Error::other)?;
    let flight = Flight { room: Semaphore::new(plan.in_flight), sent: RefCell::default() };
    let began = Instant::now();
    let (sent, outcome) = tokio::join!(send(sending, plan, &flight), receive(response, plan.transfers, &flight));
    let mut outcome = outcome?;
    sent?;
    outcome.elapsed = began.elapsed();
    Ok(outcome)
}

/// What the two directions share.
struct Flight {
    room: Semaphore,
    /// When each frame was sent, by its correlation.
    sent: RefCell<Vec<Instant>>,
}

async fn send(mut stream: h2::SendStream<Bytes>, plan: Plan, flight: &Flight) -> io::Result<()> {
    let mut rng = Rng::with_seed(plan.seed);
    let (mut keys, mut encoder, mut left) = (Keys::new(&mut rng), FrameEncoder::default(), plan.transfers);
    for correlation in 0.. {
        let count = plan.items.min(left);
        if count == 0 {
            break;
        }
        left -= count;
        let packed = pack(&mut encoder, count, &mut keys, plan.pairs, &mut rng)?;
        let room = flight.room.acquire().await.map_err(io::Error::other)?;
        room.forget();
        flight.sent.borrow_mut().push(Instant::now());
        let message = FramesIn { frames: vec![TransferFrame { correlation, packed: packed.into() }] };
        send_message(&mut stream, &message).await?;
    }
    stream.send_data(Bytes::new(), true).map_err(io::Error::other)
}

/// A frame of transfers of 1.
fn pack(encoder: &mut FrameEncoder, count: u64, keys: &mut Keys, pairs: Pairs, rng: &mut Rng) -> io::Result<Vec<u8>> {
    let amount = Amount::new(1).map_err(|_| io::Error::other("1 is an amount"))?;
    let (mut key, mut from, mut to) = (String::new(), String::from("a/"), String::from("a/"));
    for _ in 0..count {
        let (from_number, to_number) = pairs.draw(rng);
        keys.next(&mut key);
        from.truncate(2);
        from.push_str(itoa::Buffer::new().format(from_number));
        to.truncate(2);
        to.push_str(itoa::Buffer::new().format(to_number));
        let order = Order { from: &from, to: &to, amount, hold_ms: None, memo: "", metadata: "" };
        if !encoder.push(&key, &order) {
            return Err(io::Error::other("a frame takes no more than 8,192 items"));
        }
    }
    Ok(encoder.finish())
}

/// One message with gRPC's prefix: not compressed, its length.
async fn send_message(stream: &mut h2::SendStream<Bytes>, message: &FramesIn) -> io::Result<()> {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(5 + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).map_err(io::Error::other)?);
    message.encode(&mut buffer).map_err(io::Error::other)?;
    let mut bytes = buffer.freeze();
    while bytes.has_remaining() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(capacity) = capacity else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server ended the stream"));
        };
        let part = bytes.split_to(capacity.map_err(io::Error::other)?.min(bytes.len()));
        stream.send_data(part, false).map_err(io::Error::other)?;
    }
    Ok(())
}

async fn receive(response: h2::client::ResponseFuture, transfers: u64, flight: &Flight) -> io::Result<Outcome> {
    let mut outcome = Outcome::empty();
    let response = response.await.map_err(io::Error::other)?;
    let headers = response.headers().clone();
    let mut body = response.into_body();
    let (mut buffer, mut answered) = (BytesMut::new(), 0);
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(io::Error::other)?;
        body.flow_control().release_capacity(chunk.len()).map_err(io::Error::other)?;
        buffer.extend_from_slice(&chunk);
        while let Some(message) = take_message(&mut buffer)? {
            for frame in &message.frames {
                let sent = flight.sent.borrow().get(frame.correlation as usize).copied();
                let sent = sent.ok_or_else(|| io::Error::other("an answer to a frame that was not sent"))?;
                let (count, judged) = judge(frame);
                outcome.count(sent.elapsed(), judged);
                answered += count;
                flight.room.add_permits(1);
            }
        }
    }
    let trailers = body.trailers().await.map_err(io::Error::other)?.unwrap_or(headers);
    let status = trailers.get("grpc-status").map_or("none", |value| value.to_str().unwrap_or("garbage"));
    if status == "0" && answered == transfers {
        return Ok(outcome);
    }
    flight.room.close();
    Err(io::Error::other(format!("{answered} of {transfers} answered, grpc-status {status}: {trailers:?}")))
}

/// The next whole message, if it is there.
fn take_message(buffer: &mut BytesMut) -> io::Result<Option<FramesOut>> {
    let Some(&[compressed, a, b, c, d]) = buffer.first_chunk::<5>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if compressed != 0 {
        return Err(io::Error::other("a compressed message nobody asked for"));
    }
    if buffer.len() < 5 + length {
        return Ok(None);
    }
    buffer.advance(5);
    FramesOut::decode(buffer.split_to(length).freeze()).map(Some).map_err(io::Error::other)
}

/// How many answers a frame holds, and how many of them are committed: all, or it failed.
fn judge(frame: &AnswerFrame) -> (u64, Result<u64, String>) {
    if let Some(problem) = &frame.problem {
        return (0, Err(format!("{problem:?}")));
    }
    let answers = frame.packed.get(ANSWERS_AT..).unwrap_or_default().chunks_exact(ANSWER_BYTES);
    let count = answers.len() as u64;
    let committed = answers.filter(|answer| answer[0] == COMMITTED).count() as u64;
    (count, if committed == count { Ok(committed) } else { Err(format!("{committed} of {count} committed")) })
}
