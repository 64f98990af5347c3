//! `POST /v1/transfers` with `application/x-ndjson`: transfers line by line, answered line by line, in order.
//!
//! What has arrived is joined into one command and several commands are under way at once; beyond that reading waits,
//! and with it the client. The deadline of the request's header counts for each line from when it was read, since a
//! stream may last as long as it likes.

use std::task::Poll;

use bytes::{Bytes, BytesMut};
use cell::Reply;
use edge::{Body, BoxError};
use futures_util::stream;
use http::request::Parts;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use machine::BatchEncoder;
use tokio::sync::{mpsc, oneshot};
use wire::answer::{write_item, write_item_problem};
use wire::request::{parse_line, stream_command};
use wire::{Code, Problem};

use crate::call::Call;
use crate::respond::{Answered, internal, item_keys, item_of, problem_of};

/// Bytes of lines that are joined into one command, at most; the log joins commands further.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

const NDJSON_TYPE: &str = "application/x-ndjson";

/// Begins to answer a stream. The answer's body goes on while the request's body comes in.
///
/// # Errors
/// `deadline-invalid`.
pub(super) fn answer(call: &Call, head: &Parts, body: Incoming) -> Result<Answered, Problem> {
    let patience_us = call.deadline_us(&head.headers)?.saturating_sub(call.app.cell.now_us());
    let (groups, answers) = mpsc::channel(call.app.streams.in_flight_max);
    let lines = Lines::new(call.app.streams.line_bytes_max);
    let reader = Reader { call: call.clone(), patience_us, groups, lines, group: Group::default() };
    tokio::spawn(reader.run(body));
    let frames = stream::unfold((call.clone(), answers), |(call, mut answers)| async move {
        let answer = match answers.recv().await? {
            Ok(undecided) => undecided.answer(&call).await,
            // Cut off without an orderly end, so that nobody takes what was answered for everything.
            Err(why) => {
                // What was answered before is sent off first: the end of the connection would take it along.
                tokio::task::yield_now().await;
                Err(why)
            }
        };
        Some((answer.map(Frame::data), (call, answers)))
    });
    Ok(Answered { body: Body::stream(StreamBody::new(frames)), ..Answered::page(NDJSON_TYPE, Bytes::new()) })
}

/// Reads lines and hands them to the cell.
struct Reader {
    call: Call,
    patience_us: u64,
    groups: mpsc::Sender<Result<Undecided, BoxError>>,
    lines: Lines,
    group: Group,
}

/// Lines that will be one command.
struct Group {
    batch: BatchEncoder,
    /// Lines that are no items: their place in the group, their key if it could be read, and why.
    wrong: Vec<(usize, Option<String>, Problem)>,
    lines: usize,
    bytes: usize,
}

/// Lines that are with the cell, or need not go there.
struct Undecided {
    lines: usize,
    wrong: Vec<(usize, Option<String>, Problem)>,
    /// The command again, for its items' keys.
    command: Vec<u8>,
    reply: Handed,
}

/// What became of the items of a group.
enum Handed {
    /// They are with the cell, which answers by then.
    Submitted { reply: oneshot::Receiver<Reply>, deadline_us: u64 },
    /// They never came there.
    Refused(Problem),
}

impl Default for Group {
    fn default() -> Self {
        Self { batch: BatchEncoder::new(64), wrong: Vec::new(), lines: 0, bytes: 0 }
    }
}

impl Reader {
    async fn run(mut self, mut body: Incoming) {
        let idle = self.call.app.limits.body_idle_timeout;
        loop {
            let data = if self.group.lines == 0 {
                edge::next_data(&mut body, idle).await
            } else {
                match edge::data_at_hand(&mut body).await {
                    Poll::Ready(data) => data,
                    Poll::Pending => {
                        if self.flush().await.is_err() {
                            return;
                        }
                        continue;
                    }
                }
            };
            let done = match data {
                Ok(Some(data)) => self.take(&data).await,
                Ok(None) => {
                    let last = self.lines.last();
                    if let Some(line) = last {
                        self.group.push(line);
                    }
                    let _ = self.flush().await;
                    return;
                }
                // A line that was not sent to its end is not an item.
                Err(error) => {
                    let _ = self.flush().await;
                    let _ = self.groups.send(Err(error.into())).await;
                    return;
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.lines.buffer.extend_from_slice(data);
        let items_max = self.call.app.streams.batch_items_max;
        while let Some(line) = self.lines.next() {
            self.group.push(line);
            if self.group.lines >= items_max || self.group.bytes >= GROUP_BYTES_MAX {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hands the group to the cell once there is room in flight.
    async fn flush(&mut self) -> Result<(), Gone> {
        if self.group.lines == 0 {
            return Ok(());
        }
        // First the room, then the work: whoever does not read answers cannot pile up work.
        let permit = self.groups.reserve().await.map_err(|_| Gone)?;
        let Group { batch, wrong, lines, .. } = std::mem::take(&mut self.group);
        let command = stream_command(&self.call.principal, &batch);
        // The key may have been revoked since the stream began.
        if !self.call.is_still_allowed() {
            let reply = Handed::Refused(Problem::of(Code::Unauthenticated));
            permit.send(Ok(Undecided { lines, wrong, command, reply }));
            // Whoever asked has gone, or is told.
            let _ = self.groups.send(Err("the API key is no longer in force".into())).await;
            return Err(Gone);
        }
        let reply = match batch.is_empty() {
            true => Handed::Refused(Problem::of(Code::Internal)),
            false => {
                let deadline_us = self.call.app.cell.now_us() + self.patience_us;
                Handed::Submitted { reply: self.call.app.submit(command.clone(), deadline_us, true), deadline_us }
            }
        };
        permit.send(Ok(Undecided { lines, wrong, command, reply }));
        Ok(())
    }
}

/// Nobody reads the answers any more, or may.
struct Gone;

impl Group {
    fn push(&mut self, line: Line) {
        self.bytes += match &line {
            Line::Whole(bytes) => bytes.len(),
            Line::TooLong { .. } => 0,
        };
        let parsed = match line {
            Line::Whole(bytes) => parse_line(&bytes, &mut self.batch),
            Line::TooLong { max } => {
                Err((None, Problem::new(Code::PayloadTooLarge, format!("A line of a stream has at most {max} bytes."))))
            }
        };
        if let Err((key, problem)) = parsed {
            self.wrong.push((self.lines, key, problem));
        }
        self.lines += 1;
    }
}

impl Undecided {
    /// The answers to the lines, in order.
    async fn answer(self, call: &Call) -> Result<Bytes, BoxError> {
        let reply = match self.reply {
            Handed::Submitted { reply, deadline_us } => Ok(call.app.wait(reply, deadline_us).await),
            Handed::Refused(problem) => Err(problem),
        };
        let mut out = Vec::with_capacity(self.lines * 384);
        let mut wrong = self.wrong.iter().peekable();
        let mut keys = item_keys(&self.command);
        let broken = Problem::of(Code::Internal);
        let answer = match &reply {
            Ok(Reply::Decided(decided)) => Ok(&decided.answer),
            Ok(Reply::Rejected(rejected)) => Err(problem_of(*rejected, "")),
            Ok(Reply::Uncertain | Reply::Pending { .. }) => Err(Problem::of(Code::OutcomeUnknown)),
            Err(problem) => Err(problem.clone()),
        };
        let mut parts = answer.as_ref().ok().map(|answer| answer.parts());
        for line in 0..self.lines {
            if let Some((_, key, problem)) = wrong.next_if(|(at, ..)| *at == line) {
                write_item_problem(&mut out, key.as_deref(), problem);
            } else {
                let key = keys.next().unwrap_or_default();
                match (&answer, parts.as_mut().and_then(Iterator::next)) {
                    (Err(problem), _) => write_item_problem(&mut out, Some(key), &problem.clone().with_operation(key)),
                    (Ok(_), Some(part)) => write_item(&mut out, &item_of(part, key, &broken)),
                    (Ok(_), None) => write_item_problem(&mut out, Some(key), &internal("an item without a decision")),
                }
            }
            out.push(b'\n');
        }
        call.app.metrics.streamed(self.lines as u64);
        Ok(out.into())
    }
}

/// Cuts a body into lines of a bounded length.
struct Lines {
    buffer: BytesMut,
    /// How much of it holds no line feed.
    searched: usize,
    max: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

enum Line {
    Whole(Bytes),
    TooLong { max: usize },
}

impl Lines {
    fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, max, skipping: false }
    }

    /// The next line that is there to its end. Empty lines are none.
    fn next(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                return self.cut_short();
            };
            let end = std::mem::take(&mut self.searched) + at;
            let line = self.buffer.split_to(end + 1).freeze();
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let line = line.slice(..end);
            if line.len() > self.max {
                return Some(Line::TooLong { max: self.max });
            }
            if !line.trim_ascii().is_empty() {
                return Some(Line::Whole(line));
            }
        }
    }

    /// Gives up a line that is too long already, and remembers to skip its rest.
    fn cut_short(&mut self) -> Option<Line> {
        let is_too_long = !self.skipping && self.buffer.len() > self.max;
        self.skipping |= is_too_long;
        if self.skipping {
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
        is_too_long.then_some(Line::TooLong { max: self.max })
    }

    /// What comes after the last line feed, once nothing more comes.
    fn last(&mut self) -> Option<Line> {
        let line = self.buffer.split().freeze();
        self.searched = 0;
        (!self.skipping && !line.trim_ascii().is_empty()).then_some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a body is cut into parts, its lines are the same.
    #[test]
    fn lines_do_not_depend_on_the_parts() {
        let check = |body: &str, expect: &[&str]| {
            for step in 1..=body.len() {
                let mut lines = Lines::new(5);
                let mut found = Vec::new();
                let show = |line: Line| match line {
                    Line::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    Line::TooLong { .. } => "too long".to_owned(),
                };
                for part in body.as_bytes().chunks(step) {
                    lines.buffer.extend_from_slice(part);
                    while let Some(line) = lines.next() {
                        found.push(show(line));
                    }
                }
                found.extend(lines.last().map(show));
                assert_eq!(found, expect, "{body:?} in parts of {step}");
            }
        };
        check("a\nb\n", &["a", "b"]);
        check("a\n\n \nb", &["a", "b"]);
        check("12345\n123456\nc\n", &["12345", "too long", "c"]);
        check("1234567890123\nc", &["too long", "c"]);
        check("1234567890123", &["too long"]);
    }

    /// A long line that comes in small parts costs as much as one that comes whole.
    #[test]
    fn nothing_is_searched_twice() {
        let mut lines = Lines::new(100);
        for (part, searched) in [("abc", 3), ("def", 6), ("g\nhi", 2), ("j", 3), ("\n", 0)] {
            lines.buffer.extend_from_slice(part.as_bytes());
            while lines.next().is_some() {}
            assert_eq!(lines.searched, searched, "after {part:?}");
        }
        lines.buffer.extend_from_slice(&[b'x'; 101]);
        assert!(matches!(lines.next(), Some(Line::TooLong { .. })));
        assert_eq!((lines.searched, lines.buffer.len()), (0, 0));
    }
}
