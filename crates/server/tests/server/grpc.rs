//! The same operations over gRPC, and the bulk stream.

use std::collections::HashMap;

use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use wire::frames::{FrameEncoder, decode_answers};
use wire::proto::tertium_client::TertiumClient;
use wire::proto::{
    BatchRequest, FramesIn, GetAccountRequest, GetOperationRequest, GetTransferRequest, ListAccountsRequest,
    ListTransfersRequest, OpenAccountRequest, Problem, SettleRequest, TransferFrame, TransferRequest,
    item_answer::Answer,
};
use words::Outcome;

use crate::kit::{Server, transfer};

pub(crate) async fn connect(server: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{server}")).unwrap().connect().await.unwrap()
}

async fn ledger(server: std::net::SocketAddr) -> TertiumClient<Channel> {
    TertiumClient::new(connect(server).await).max_decoding_message_size(64 << 20)
}

fn order(key: &str, from: &str, to: &str, amount: &str) -> TransferRequest {
    TransferRequest {
        idempotency_key: key.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        amount: amount.to_owned(),
        ..TransferRequest::default()
    }
}

pub(crate) fn code(status: &Status) -> &str {
    status.metadata().get("tertium-code").unwrap().to_str().unwrap()
}

/// The problem in a status's trailers.
pub(crate) fn problem(status: &Status) -> Problem {
    let bytes = status.metadata().get_bin("tertium-problem-bin").unwrap().to_bytes().unwrap();
    prost::Message::decode(bytes).unwrap()
}

/// A request with that `grpc-timeout`.
pub(crate) fn within<T>(timeout: &'static str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

/// Asks with that `grpc-timeout`, and gives the code and the status: the client here has no clock of its own, which would be
/// ahead of the server's word.
pub(crate) async fn asked_late(
    server: std::net::SocketAddr,
    method: &str,
    timeout: &str,
    message: impl prost::Message,
) -> (String, String) {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let socket = tokio::net::TcpStream::connect(server).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let message = message.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let request = http::Request::post(format!("http://{server}/tertium.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let told = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
    (told("tertium-code"), told("grpc-status"))
}

pub(crate) fn text<'a, T>(response: &'a tonic::Response<T>, name: &str) -> Option<&'a str> {
    response.metadata().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn unary_calls_are_the_operations_of_http() {
    let server = Server::start();
    let address = server.address();
    let posted = server.runtime().block_on(async {
        let mut client = ledger(address).await;
        for (id, no_floor) in [("world", true), ("a", false)] {
            let request = OpenAccountRequest {
                idempotency_key: format!("open-{id}"),
                id: id.to_owned(),
                unit: "GBP".to_owned(),
                no_floor,
                ..OpenAccountRequest::default()
            };
            assert_eq!(client.open_account(request).await.unwrap().into_inner().id, id);
        }
        let first = client.transfer(order("k", "world", "a", "5")).await.unwrap();
        assert_eq!(text(&first, "tertium-outcome"), Some("committed"));
        assert_eq!(text(&first, "idempotency-replayed"), None);
        let again = client.transfer(order("k", "world", "a", "5")).await.unwrap();
        assert_eq!(text(&again, "idempotency-replayed"), Some("true"));
        assert_eq!(first.get_ref(), again.get_ref());
        assert_eq!(text(&first, "tertium-position"), text(&again, "tertium-position"));
        let read = client.get_transfer(GetTransferRequest { id: first.get_ref().id.clone() }).await.unwrap();
        assert_eq!((read.get_ref(), text(&read, "tertium-staleness-ms")), (first.get_ref(), Some("0")));
        let none = client.get_transfer(GetTransferRequest { id: "x".to_owned() }).await.unwrap_err();
        assert_eq!(code(&none), "transfer-not-found");
        // The key may stand in the metadata, as over HTTP.
        let keyed = |field: &str, metadata: &'static str| {
            let mut request = tonic::Request::new(order(field, "world", "a", "5"));
            request.metadata_mut().insert("idempotency-key", metadata.parse().unwrap());
            request
        };
        for (field, metadata) in [("", "k"), ("", "\"k\""), ("k", "k")] {
            let again = client.transfer(keyed(field, metadata)).await.unwrap();
            assert_eq!(text(&again, "idempotency-replayed"), Some("true"), "{field} {metadata}");
        }
        for (field, metadata) in [("other", "k"), ("k", "\"k")] {
            let status = client.transfer(keyed(field, metadata)).await.unwrap_err();
            assert_eq!(code(&status), "idempotency-key-invalid");
        }
        let account = client.get_account(GetAccountRequest { id: "a".to_owned() }).await.unwrap();
        assert_eq!((account.get_ref().balance.as_str(), text(&account, "tertium-staleness-ms")), ("5", Some("0")));
        let items = vec![order("1", "world", "a", "1"), order("2", "a", "world", "100")];
        let batch = client.batch(BatchRequest { idempotency_key: "b".to_owned(), atomic: false, items }).await.unwrap();
        let answers: Vec<bool> =
            batch.into_inner().items.iter().map(|item| matches!(item.answer, Some(Answer::Transfer(_)))).collect();
        assert_eq!(answers, [true, false]);
        let history = ListTransfersRequest { account_id: "a".to_owned(), limit: 1, ..ListTransfersRequest::default() };
        let history = client.list_transfers(history).await.unwrap().into_inner();
        assert_eq!((history.items.len(), history.items[0].balance_after.as_str()), (1, "6"));
        assert!(history.next.is_some());
        let accounts = client.list_accounts(ListAccountsRequest::default()).await.unwrap().into_inner();
        assert_eq!(accounts.items.len(), 2);
        let operation = client.get_operation(GetOperationRequest { key: "k".to_owned(), wait_ms: 0 }).await.unwrap();
        assert_eq!(operation.get_ref().status, 201);
        // How fresh a read is to be changes nothing of what was decided.
        let mut settle = tonic::Request::new(SettleRequest { key: "never".to_owned() });
        settle.metadata_mut().insert("tertium-consistency", "at=main:1:1".parse().unwrap());
        let settled = client.settle(settle).await.unwrap();
        assert_eq!(text(&settled, "tertium-outcome"), Some("refused"));
        first.into_inner()
    });
    // One key, whichever way it comes.
    let replay = server.transfer("k", "world", "a", 5);
    assert_eq!((replay.header("idempotency-replayed"), &replay.json()["id"]), (Some("true"), &posted.id.into()));
}

#[test]
fn refusals_carry_their_code() {
    let server = Server::start();
    server.open(&["a"]);
    let address = server.address();
    let before = server.position();
    server.runtime().block_on(async {
        let mut client = ledger(address).await;
        let refused = [
            (order("", "world", "a", "1"), "idempotency-key-missing", tonic::Code::InvalidArgument),
            (order("k k", "world", "a", "1"), "idempotency-key-invalid", tonic::Code::InvalidArgument),
            (order("k", "world", "a", "0"), "amount-invalid", tonic::Code::InvalidArgument),
            (order("k", "world", "a", "1.5"), "amount-invalid", tonic::Code::InvalidArgument),
            (order("k", "wo rld", "a", "1"), "invalid-request", tonic::Code::InvalidArgument),
        ];
        for (request, expect, grpc) in refused {
            let status = client.transfer(request).await.unwrap_err();
            assert_eq!((code(&status), status.code()), (expect, grpc), "{status:?}");
        }
    });
    assert_eq!(server.position(), before, "nothing was appended");
    server.runtime().block_on(async {
        let mut client = ledger(address).await;
        let status = client.transfer(order("poor", "a", "world", "1")).await.unwrap_err();
        assert_eq!(code(&status), "insufficient-funds");
        let told =
            |status: &Status, name: &str| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(told(&status, "tertium-outcome").as_deref(), Some("refused"));
        let position = told(&status, "tertium-position");
        assert!(position.as_ref().is_some_and(|position| position.starts_with("main:1:")), "{status:?}");
        assert!(told(&status, "tertium-session").is_some() && told(&status, "idempotency-replayed").is_none());
        let again = client.transfer(order("poor", "a", "world", "1")).await.unwrap_err();
        assert_eq!(
            (told(&again, "idempotency-replayed").as_deref(), told(&again, "tertium-position")),
            (Some("true"), position)
        );
        let none = client.get_account(GetAccountRequest { id: "none".to_owned() }).await.unwrap_err();
        assert_eq!((code(&none), told(&none, "tertium-outcome")), ("account-not-found", None));
        assert_eq!(told(&none, "tertium-staleness-ms").as_deref(), Some("0"));
    });
    assert_eq!(server.post("/v1/transfers", "poor", &transfer("a", "world", 1)).code(), "insufficient-funds");
}

#[test]
fn many_frames_in_flight_each_answered_once() {
    let server = Server::start();
    server.open(&["a", "b"]);
    let address = server.address();
    server.runtime().block_on(async {
        let mut client = ledger(address).await;
        for replayed in [false, true] {
            let (sender, receiver) = tokio::sync::mpsc::channel(4);
            let mut answers = client.transfer_stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
            tokio::spawn(async move {
                for message in 0..10u64 {
                    let frames = (0..3).map(|frame| frame_of(message * 3 + frame, 200)).collect();
                    sender.send(FramesIn { frames }).await.unwrap();
                }
            });
            let mut seen = HashMap::new();
            while let Some(message) = answers.message().await.unwrap() {
                for frame in message.frames {
                    assert!(frame.problem.is_none(), "{frame:?}");
                    assert!(frame.position.starts_with("main:1:"));
                    let answers = decode_answers(&frame.packed).unwrap();
                    assert!(seen.insert(frame.correlation, answers).is_none(), "answered twice");
                }
            }
            assert_eq!(seen.len(), 30);
            for answers in seen.values() {
                assert_eq!(answers.len(), 200);
                for (at, answer) in answers.iter().enumerate() {
                    let expect = if at % 10 == 9 { Outcome::Refused } else { Outcome::Committed };
                    assert_eq!((answer.outcome, answer.replayed), (expect, replayed), "{answer:?}");
                }
            }
        }
    });
    assert_eq!(server.balance("a"), 30 * 180);
}

/// A frame whose every tenth item has not the funds.
pub(crate) fn frame_of(correlation: u64, items: u64) -> TransferFrame {
    let mut encoder = FrameEncoder::default();
    for at in 0..items {
        let from = if at % 10 == 9 { "b" } else { "world" };
        let amount = words::Amount::new(1).unwrap();
        let order = machine::Order { from, to: "a", amount, hold_ms: None, memo: "", metadata: "" };
        assert!(encoder.push(&format!("{correlation}-{at}"), &order));
    }
    TransferFrame { correlation, packed: encoder.finish().into() }
}

#[test]
fn a_broken_frame_is_refused_for_itself() {
    let server = Server::start();
    server.open(&["a"]);
    let address = server.address();
    server.runtime().block_on(async {
        let mut client = ledger(address).await;
        let mut truncated = frame_of(1, 5);
        truncated.packed = truncated.packed.slice(..truncated.packed.len() - 1);
        let empty = TransferFrame { correlation: 2, packed: bytes::Bytes::new() };
        let frames = vec![truncated, empty, frame_of(3, 5)];
        let answers = client.transfer_stream(tokio_stream::once(FramesIn { frames })).await.unwrap().into_inner();
        let mut problems = HashMap::new();
        let mut answers = answers;
        while let Some(message) = answers.message().await.unwrap() {
            for frame in message.frames {
                problems.insert(frame.correlation, frame.problem.map(|problem| problem.code));
            }
        }
        let invalid = Some("invalid-request".to_owned());
        assert_eq!(problems, HashMap::from([(1, invalid.clone()), (2, invalid), (3, None)]));
    });
    assert_eq!(server.balance("a"), 5);
    assert_eq!(server.get("/v1/operations/1-0").code(), "operation-unknown");
}
