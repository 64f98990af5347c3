//! The bulk stream: frames of many transfers come in, answers to frames go out as they are decided, tied by number.
//!
//! Each frame is one command. Several are with the cell at once; beyond that nothing more is read, and HTTP/2's flow
//! control holds the client back. A stream may last as long as it likes: the deadline of `grpc-timeout`, at most the default
//! one, counts for each frame from when it was read.

use std::pin::Pin;

use bytes::Bytes;
use cell::Reply;
use futures_util::Stream;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use machine::BatchEncoder;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wire::frames::{Received, decode_frame, encode_answers};
use wire::proto::{AnswerFrame, FramesIn, FramesOut, TransferFrame};
use wire::request::stream_command;
use wire::{Code, Problem};

use crate::call::Call;
use crate::respond::{item_of, problem_of};

/// Answer frames that are joined into one message.
const FRAMES_PER_MESSAGE_MAX: usize = 16;

type Answers = Pin<Box<dyn Stream<Item = Result<FramesOut, Status>> + Send>>;

/// Answers frames as they come.
pub(super) fn answers(call: Call, frames: Streaming<FramesIn>, patience_us: u64) -> Answers {
    let (sender, receiver) = mpsc::channel(call.app.streams.in_flight_max);
    tokio::spawn(read_all(call, frames, patience_us, sender));
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        let first: Result<AnswerFrame, Status> = receiver.recv().await?;
        let mut frames = match first {
            Ok(frame) => vec![frame],
            Err(status) => return Some((Err(status), receiver)),
        };
        while frames.len() < FRAMES_PER_MESSAGE_MAX {
            match receiver.try_recv() {
                Ok(Ok(frame)) => frames.push(frame),
                // The status ends the stream, and ends it right after what was answered.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Some((Ok(FramesOut { frames }), receiver))
    }))
}

/// Reads frames while there is room in flight, and sends answers as they are decided.
async fn read_all(
    call: Call,
    mut frames: Streaming<FramesIn>,
    patience_us: u64,
    answers: mpsc::Sender<Result<AnswerFrame, Status>>,
) {
    let in_flight_max = call.app.streams.in_flight_max;
    let mut in_flight = FuturesUnordered::new();
    let mut waiting = std::collections::VecDeque::new();
    let mut open = true;
    // How the stream ends once what was read is answered.
    let mut ended = None;
    loop {
        while in_flight.len() < in_flight_max {
            let Some(frame) = waiting.pop_front() else { break };
            in_flight.push(decide(&call, frame, patience_us));
        }
        if !open && in_flight.is_empty() && waiting.is_empty() {
            if let Some(status) = ended {
                // Whoever asked may have gone.
                let _ = answers.send(Err(status)).await;
            }
            return;
        }
        tokio::select! {
            biased;
            Some(answer) = in_flight.next(), if !in_flight.is_empty() => {
                // Nobody reads the answers any more: what was handed to the cell happens all the same.
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            message = frames.message(), if open && waiting.is_empty() && in_flight.len() < in_flight_max => match message {
                // The key may have been revoked since the stream began.
                Ok(Some(_)) if !call.is_still_allowed() => {
                    ended = Some(wire::grpc::status(&Problem::of(Code::Unauthenticated)));
                    open = false;
                }
                Ok(Some(message)) => waiting.extend(message.frames),
                Ok(None) => open = false,
                Err(status) => {
                    // What was read is still answered; then the stream ends with why nothing more was read.
                    tracing::debug!(%status, trace_id = %call.trace, "a stream of frames broke off");
                    ended = Some(status);
                    open = false;
                }
            },
        }
    }
}

/// Hands one frame to the cell and packs what it decided.
fn decide(call: &Call, frame: TransferFrame, patience_us: u64) -> impl Future<Output = AnswerFrame> + Send + use<> {
    let TransferFrame { correlation, packed } = frame;
    let mut batch = BatchEncoder::new(packed.len() / 64);
    let received = decode_frame(&packed, &mut batch);
    drop(packed);
    let reply = (!batch.is_empty()).then(|| {
        let deadline_us = call.app.cell.now_us() + patience_us;
        (call.app.submit(stream_command(&call.principal, &batch), deadline_us, true), deadline_us)
    });
    let app = std::sync::Arc::clone(&call.app);
    async move {
        let answered = match (received, reply) {
            (Err(problem), _) => Err(problem),
            (Ok(received), None) => Ok((encode_answers(&received, []), String::new())),
            (Ok(received), Some((reply, deadline_us))) => {
                let reply = app.wait(reply, deadline_us).await;
                app.metrics.streamed(received.count as u64);
                pack(&received, &reply).map(|(packed, position)| (packed, format!("{}:{position}", app.cell.cell())))
            }
        };
        match answered {
            Ok((packed, position)) => AnswerFrame { correlation, packed: packed.into(), position, problem: None },
            Err(problem) => AnswerFrame {
                correlation,
                packed: Bytes::new(),
                position: String::new(),
                problem: Some(wire::grpc::problem(&problem)),
            },
        }
    }
}

fn pack(received: &Received, reply: &Reply) -> Result<(Vec<u8>, words::Position), Problem> {
    match reply {
        Reply::Decided(decided) => {
            let broken = Problem::of(Code::Internal);
            let verdicts = decided.answer.parts().map(|part| {
                let replayed = matches!(part, cell::Part::Record { replayed: true, .. });
                (item_of(part, "", &broken).verdict, replayed)
            });
            Ok((encode_answers(received, verdicts), decided.position))
        }
        Reply::Rejected(rejected) => Err(problem_of(*rejected, "")),
        Reply::Uncertain | Reply::Pending { .. } => Err(Problem::of(Code::OutcomeUnknown)),
    }
}
