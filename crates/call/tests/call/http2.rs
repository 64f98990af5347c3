//! HTTP/2, with frames written by hand where a proper peer would not send them so.

use call::{Evidence, Protocol, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::receiver::{Receiver, client, effect};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

async fn send(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    let _ = stream.write_all(&frame).await;
}

/// The stream of the next request, once it is whole.
async fn request(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

#[derive(Clone, Copy)]
enum Then {
    Answer,
    Reset(u32),
    Goaway { last: u32 },
    Close,
}

async fn receiver(then: Then) -> Receiver {
    Receiver::start(move |mut peer| async move {
        let mut preface = [0; 24];
        let _ = peer.stream.read_exact(&mut preface).await;
        send(&mut peer.stream, SETTINGS, 0, 0, &[]).await;
        while let Some(id) = request(&mut peer.stream).await {
            match then {
                // Carried out: HPACK's static entry 8 is `:status: 200`.
                Then::Answer => {
                    peer.seen.heads.lock().unwrap().push(String::new());
                    send(&mut peer.stream, HEADERS, END_STREAM | END_HEADERS, id, &[0x88]).await;
                }
                Then::Reset(code) => send(&mut peer.stream, RST_STREAM, 0, id, &code.to_be_bytes()).await,
                Then::Goaway { last } => {
                    send(&mut peer.stream, GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()).await;
                    if last >= id {
                        peer.seen.heads.lock().unwrap().push(String::new());
                        return;
                    }
                }
                Then::Close => {
                    peer.seen.heads.lock().unwrap().push(String::new());
                    return;
                }
            }
        }
    })
    .await
}

async fn check(then: Then, executions: usize, expected: impl Fn(&Verdict) -> bool) {
    let receiver = receiver(then).await;
    let client = client(|to| to.transport.protocol = Protocol::Http2);
    let mut call = effect(&receiver.url());
    call.retries_max = 0;
    let report = client.call(call).await;
    assert!(expected(&report.verdict), "{}", report.verdict);
    assert_eq!(receiver.executions(), executions);
}

#[tokio::test]
async fn answered() {
    check(Then::Answer, 1, |verdict| *verdict == Verdict::Committed).await;
}

#[tokio::test]
async fn refused_stream_is_not_done() {
    check(Then::Reset(7), 0, |verdict| *verdict == Verdict::NotDone(Evidence::StreamRefused)).await;
}

#[tokio::test]
async fn another_reset_is_uncertain() {
    check(Then::Reset(2), 0, |verdict| *verdict == Verdict::Uncertain(Evidence::StreamReset { code: 2 })).await;
}

#[tokio::test]
async fn above_the_last_id_of_goaway_is_not_done() {
    check(Then::Goaway { last: 0 }, 0, |verdict| *verdict == Verdict::NotDone(Evidence::AboveGoaway)).await;
}

#[tokio::test]
async fn below_the_last_id_of_goaway_is_uncertain() {
    check(Then::Goaway { last: 1 }, 1, |verdict| matches!(verdict, Verdict::Uncertain(_))).await;
}

#[tokio::test]
async fn closed_after_the_request_is_uncertain() {
    check(Then::Close, 1, |verdict| matches!(verdict, Verdict::Uncertain(_))).await;
}

#[tokio::test]
async fn calls_share_one_connection() {
    let receiver = receiver(Then::Answer).await;
    let client = client(|to| to.transport.protocol = Protocol::Http2);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (client, call) = (client.clone(), effect(&receiver.url()));
            tokio::spawn(async move { client.call(call).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().verdict, Verdict::Committed);
    }
    assert_eq!((receiver.executions(), receiver.connections()), (20, 1));
}
