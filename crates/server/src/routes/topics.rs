//! Topics and subscriptions: publishing, reading by pages or as a stream, and saying who is told what.

use bytes::Bytes;
use cell::{Found, Query, ReadReply, TopicFound, TopicQuery};
use edge::{Body, BoxError};
use futures_util::stream;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::StreamBody;
use hyper::body::Frame;
use machine::{Envelope, Record, Settings, TopicPage};
use outbox::check_url;
use wire::path::id_of_segment;
use wire::query::{EventsQuery, LettersQuery, NamesQuery, no_query};
use wire::request::{self, EventForm};
use wire::topic::{
    DeadLetter, write_dead_letters, write_events, write_record, write_subscription, write_subscriptions, write_topics,
};
use wire::{Code, Problem, sse};

use super::judge::Judge;
use super::reads::{Fresh, answer, problem_of_read, read_answer};
use super::writes::{Judged, decide, decide_judged, json_only};
use crate::call::{Call, Payload, bytes_of};
use crate::respond::{Answered, internal};
use crate::route::TopicRoute;

const LAST_EVENT_ID: http::HeaderName = http::HeaderName::from_static("last-event-id");

/// How long a stream is silent at most, in microseconds.
const HEARTBEAT_US: u64 = 15_000_000;
/// How long a client is asked to wait before it connects again, in milliseconds.
const RETRY_MS: u64 = 1_000;
/// How many events a stream reads at once.
const STREAM_EVENTS_MAX: usize = 100;

/// Answers a write.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn write(
    call: &mut Call,
    route: TopicRoute<'_>,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    let name = |segment| id_of_segment("name", segment);
    match route {
        TopicRoute::Publish(topic) => {
            let (topic, form) = (id_of_segment("topic", topic)?, form_of(&head.headers)?);
            decide(call, head, body, |body, who, key| request::parse_publish(&topic, form, body, who, key)).await
        }
        TopicRoute::Keep(topic) => {
            let topic = id_of_segment("topic", topic)?;
            json_only(head, body)?;
            decide(call, head, body, |body, who, key| request::parse_topic(&topic, body, who, key)).await
        }
        TopicRoute::Subscribe(segment) => {
            let name = name(segment)?;
            json_only(head, body)?;
            decide_judged(call, head, body, |body, who, key| {
                let mut judge = Judge::new(call);
                let check = |settings: &Settings<'_>| check_subscription(&mut judge, settings);
                let command = request::parse_subscription(&name, body, who, key, check)?;
                Ok(Judged { command, if_new: judge.against })
            })
            .await
        }
        TopicRoute::Unsubscribe(segment) => {
            let name = name(segment)?;
            json_only(head, body)?;
            decide(call, head, body, |body, who, key| request::parse_unsubscribe(&name, body, who, key)).await
        }
        TopicRoute::Acknowledge(segment) => {
            let name = name(segment)?;
            json_only(head, body)?;
            decide(call, head, body, |body, who, key| request::parse_acknowledgement(&name, body, who, key)).await
        }
        TopicRoute::Replay(segment) | TopicRoute::Drop(segment) => {
            let (name, replay) = (name(segment)?, matches!(route, TopicRoute::Replay(_)));
            json_only(head, body)?;
            decide(call, head, body, |body, who, key| request::parse_letters(&name, replay, body, who, key)).await
        }
        _ => Err(internal("a route that is no write")),
    }
}

/// Whether a subscription is one. What this server's settings have against its address or its secrets is noted.
fn check_subscription(judge: &mut Judge<'_>, settings: &Settings<'_>) -> Result<(), Problem> {
    if settings.is_push() {
        let url = check_url(settings.url).map_err(|error| Problem::field(Code::InvalidRequest, "url", error))?;
        judge.address("url", &url);
    }
    settings.secrets.iter().for_each(|name| judge.webhook_secret("secrets", name));
    Ok(())
}

fn form_of(headers: &HeaderMap) -> Result<EventForm, Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let what = "is application/json, application/cloudevents+json or application/cloudevents-batch+json";
    EventForm::of_content_type(value).ok_or_else(|| Problem::field(Code::UnsupportedMediaType, "Content-Type", what))
}

/// Answers a read.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn read(call: &Call, route: TopicRoute<'_>, head: &Parts) -> Result<Answered, Problem> {
    let query = head.uri.query().unwrap_or("");
    match route {
        TopicRoute::Events(topic) => events(call, &id_of_segment("topic", topic)?, head).await,
        TopicRoute::Fetch(name) => fetch(call, id_of_segment("name", name)?, head).await,
        TopicRoute::List => {
            let NamesQuery { limit, after } = NamesQuery::parse(query)?;
            let reply = ask(call, head, TopicQuery::Topics { after, limit }).await?;
            answer_found(call, reply, "", |found| {
                let TopicFound::Topics(topics) = found else { return None };
                let next = topics.last().filter(|_| topics.len() == limit).map(|topic| &*topic.name);
                Some(written(|out| write_topics(out, &topics, next)))
            })
        }
        TopicRoute::Subscriptions => {
            let NamesQuery { limit, after } = NamesQuery::parse(query)?;
            let reply = ask(call, head, TopicQuery::Subscriptions { after, limit }).await?;
            answer_found(call, reply, "", |found| {
                let TopicFound::Subscriptions(all) = found else { return None };
                let next = all.last().filter(|_| all.len() == limit).map(|view| &*view.name);
                Some(written(|out| write_subscriptions(out, &all, next)))
            })
        }
        TopicRoute::Subscription(name) => {
            let name = id_of_segment("name", name)?;
            no_query(query)?;
            let reply = ask(call, head, TopicQuery::Subscription { name: name.clone() }).await?;
            answer_found(call, reply, &name, |found| match found {
                TopicFound::Subscriptions(views) => {
                    views.first().map(|view| written(|out| write_subscription(out, view)))
                }
                _ => None,
            })
        }
        TopicRoute::DeadLetters(name) => dead_letters(call, id_of_segment("name", name)?, head).await,
        _ => Err(internal("a route that is no read")),
    }
}

async fn events(call: &Call, topic: &str, head: &Parts) -> Result<Answered, Problem> {
    let EventsQuery { from, limit, wait_ms } = EventsQuery::parse(head.uri.query().unwrap_or(""))?;
    let accept = bytes_of(&head.headers, &ACCEPT).unwrap_or_default();
    if accept.windows(sse::STREAM_TYPE.len()).any(|window| window.eq_ignore_ascii_case(sse::STREAM_TYPE.as_bytes())) {
        let last = sse::last_event_id(bytes_of(&head.headers, &LAST_EVENT_ID))?;
        let from = last.map_or(from, |last| last.saturating_add(1));
        return stream_events(call, topic, head, from).await;
    }
    let wait_until_us = (wait_ms > 0).then(|| call.app.cell.now_us() + wait_ms * 1_000);
    let query = TopicQuery::Events { topic: topic.to_owned(), from, limit, wait_until_us };
    answer_page(call, ask(call, head, query).await?, topic)
}

async fn fetch(call: &Call, name: String, head: &Parts) -> Result<Answered, Problem> {
    let EventsQuery { from, limit, wait_ms } = EventsQuery::parse(head.uri.query().unwrap_or(""))?;
    let wait_until_us = (wait_ms > 0).then(|| call.app.cell.now_us() + wait_ms * 1_000);
    let query = TopicQuery::Fetch { name: name.clone(), from, limit, wait_until_us };
    answer_page(call, ask(call, head, query).await?, &name)
}

fn answer_page(call: &Call, reply: ReadReply, about: &str) -> Result<Answered, Problem> {
    answer_found(call, reply, about, |found| {
        let TopicFound::Events(TopicPage { events, next, is_end }) = found else { return None };
        Some(written(|out| write_events(out, call.app.cell.cell(), &events, next, is_end)))
    })
}

async fn dead_letters(call: &Call, name: String, head: &Parts) -> Result<Answered, Problem> {
    let LettersQuery { limit, from } = LettersQuery::parse(head.uri.query().unwrap_or(""))?;
    let reply = ask(call, head, TopicQuery::DeadLetters { name: name.clone(), from, limit }).await?;
    answer_found(call, reply, &name, |found| {
        let TopicFound::DeadLetters { letters, next } = found else { return None };
        let shown =
            letters.iter().map(|letter| DeadLetter { offset: letter.offset, why: &letter.why, event: &letter.event });
        Some(written(|out| write_dead_letters(out, call.app.cell.cell(), shown, next)))
    })
}

async fn ask(call: &Call, head: &Parts, query: TopicQuery) -> Result<ReadReply, Problem> {
    let fresh = Fresh::of(call, &head.headers)?;
    call.app.read(fresh.level, fresh.deadline_us, Query::Topics(query)).await
}

fn answer_found(
    call: &Call,
    reply: ReadReply,
    about: &str,
    render: impl FnOnce(TopicFound) -> Option<Vec<u8>>,
) -> Result<Answered, Problem> {
    answer(call, reply, about, |found| {
        let rendered = match found {
            Found::Topics(found) => render(found),
            _ => None,
        };
        rendered.ok_or_else(|| internal("another kind of thing was found"))
    })
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    write(&mut out);
    out
}

/// Answers with a stream that goes on until either side ends it. Its first read says whether there is such a topic.
async fn stream_events(call: &Call, topic: &str, head: &Parts, from: u64) -> Result<Answered, Problem> {
    let query = TopicQuery::Events { topic: topic.to_owned(), from, limit: STREAM_EVENTS_MAX, wait_until_us: None };
    let ReadReply { found, position, staleness_ms } = ask(call, head, query).await?;
    let first = match found {
        Ok(Found::Topics(TopicFound::Events(page))) => page,
        Ok(_) => return Err(internal("another kind of thing was found")),
        Err(error) => {
            let problem = Answered::problem(&problem_of_read(call, error, topic));
            return Ok(read_answer(problem, position, staleness_ms));
        }
    };
    let mut begin = Vec::new();
    sse::write_retry(&mut begin, RETRY_MS);
    let next = put_events(call, &first, &mut begin);
    let follower = Follower { call: call.clone(), topic: topic.to_owned(), next, at_hand: Some(begin) };
    let frames = stream::unfold(follower, |mut follower| async move {
        let bytes = follower.next_bytes().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from(bytes))), follower))
    });
    let stream = Body::stream(StreamBody::new(frames));
    let answered = Answered { body: stream, ..Answered::page(sse::STREAM_TYPE, Bytes::new()) };
    Ok(read_answer(answered, position, staleness_ms))
}

/// A stream that follows a topic.
struct Follower {
    call: Call,
    topic: String,
    next: u64,
    at_hand: Option<Vec<u8>>,
}

impl Follower {
    /// What is to be sent next: events, or a heartbeat where none came. `None` ends the stream: the server stops, cannot
    /// read on, or the client's key is no longer in force; who has one comes back with the last id it has.
    async fn next_bytes(&mut self) -> Option<Vec<u8>> {
        if let Some(bytes) = self.at_hand.take() {
            return Some(bytes);
        }
        let until_us = self.call.app.cell.now_us() + HEARTBEAT_US;
        let query = TopicQuery::Events {
            topic: self.topic.clone(),
            from: self.next,
            limit: STREAM_EVENTS_MAX,
            wait_until_us: Some(until_us),
        };
        let read = self.call.app.read(cell::Level::Eventual, until_us + HEARTBEAT_US, Query::Topics(query));
        let reply = tokio::select! {
            reply = read => reply.ok()?,
            // A stream would hold up the stop for as long as nothing comes.
            () = self.call.app.stop.asked() => return None,
        };
        let Ok(Found::Topics(TopicFound::Events(page))) = reply.found else { return None };
        if !self.call.is_still_allowed() {
            return None;
        }
        let mut bytes = Vec::new();
        self.next = put_events(&self.call, &page, &mut bytes);
        if bytes.is_empty() {
            bytes.extend_from_slice(sse::HEARTBEAT);
        }
        Some(bytes)
    }
}

/// Appends a page's events, and gives where the next one begins.
fn put_events(call: &Call, page: &TopicPage, out: &mut Vec<u8>) -> u64 {
    let mut event = Vec::new();
    for record in &page.events {
        event.clear();
        let Ok(decoded) = Record::decode(&record.record) else { continue };
        let Some(envelope) = Envelope::of(&decoded) else { continue };
        if write_record(&mut event, call.app.cell.cell(), record.offset, &record.record) {
            sse::write_event(out, record.offset, envelope.kind, &event);
        }
    }
    page.next
}
