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

use super::follow::{Begun, Follower};
use super::judge::Judge;
use super::reads::{Fresh, answer, read_answer};
use super::writes::{Judged, decide, decide_judged, json_only};
use crate::call::{Call, Payload, bytes_of};
use crate::respond::{Answered, internal};
use crate::route::TopicRoute;

/// How long a client is asked to wait before it connects again, in milliseconds.
const RETRY_MS: u64 = 1_000;

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
        TopicRoute::Events(topic) => events(call, topic, head).await,
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

async fn events(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let accept = bytes_of(&head.headers, &ACCEPT).unwrap_or_default();
    if accept.windows(sse::STREAM_TYPE.len()).any(|window| window.eq_ignore_ascii_case(sse::STREAM_TYPE.as_bytes())) {
        return stream_events(call, segment, head).await;
    }
    let topic = id_of_segment("topic", segment)?;
    let EventsQuery { from, limit, wait_ms } = EventsQuery::parse(head.uri.query().unwrap_or(""))?;
    let wait_until_us = (wait_ms > 0).then(|| call.app.cell.now_us() + wait_ms * 1_000);
    let query = TopicQuery::Events { topic: topic.clone(), from, limit, wait_until_us };
    answer_page(call, ask(call, head, query).await?, &topic)
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
async fn stream_events(call: &Call, topic: &str, head: &Parts) -> Result<Answered, Problem> {
    let Begun { follower, position, staleness_ms } = Follower::begin(call, topic, head).await?;
    let follower = match follower {
        Ok(follower) => follower,
        Err(problem) => return Ok(read_answer(Answered::problem(&problem), position, staleness_ms)),
    };
    let mut begin = Vec::new();
    sse::write_retry(&mut begin, RETRY_MS);
    let frames = stream::unfold((follower, begin), |(mut follower, mut bytes)| async move {
        // Who is cut off comes back with the last id it has: why need not be said.
        let page = follower.next_page().await.ok()?;
        put_events(&follower, &page, &mut bytes);
        if bytes.is_empty() {
            bytes.extend_from_slice(sse::HEARTBEAT);
        }
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from(bytes))), (follower, Vec::new())))
    });
    let stream = Body::stream(StreamBody::new(frames));
    let answered = Answered { body: stream, ..Answered::page(sse::STREAM_TYPE, Bytes::new()) };
    Ok(read_answer(answered, position, staleness_ms))
}

/// Appends a page's events.
fn put_events(follower: &Follower, page: &TopicPage, out: &mut Vec<u8>) {
    let mut event = Vec::new();
    for record in &page.events {
        event.clear();
        let Ok(decoded) = Record::decode(&record.record) else { continue };
        let Some(envelope) = Envelope::of(&decoded) else { continue };
        if write_record(&mut event, follower.cell(), record.offset, &record.record) {
            sse::write_event(out, record.offset, envelope.kind, &event);
        }
    }
}
