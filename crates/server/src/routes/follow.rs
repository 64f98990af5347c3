//! Following a topic: its events page by page, as they come, until either side ends it. How a page is told is the matter of
//! each protocol.

use cell::{Found, Query, ReadReply, TopicFound, TopicQuery};
use http::request::Parts;
use machine::TopicPage;
use wire::path::id_of_segment;
use wire::query::EventsQuery;
use wire::topic::write_events;
use wire::{Code, Problem, sse};
use words::{CellName, Position};

use super::reads::{Fresh, problem_of_read};
use crate::call::{Call, bytes_of};
use crate::respond::internal;

/// Where a stream of server-sent events goes on.
pub(crate) const LAST_EVENT_ID: http::HeaderName = http::HeaderName::from_static("last-event-id");

/// How long a stream is silent at most, in microseconds.
const HEARTBEAT_US: u64 = 15_000_000;
/// How many events a stream reads at once.
const STREAM_EVENTS_MAX: usize = 100;

/// What follows a topic.
pub(crate) struct Follower {
    call: Call,
    topic: String,
    next: u64,
    at_hand: Option<TopicPage>,
}

/// What a first read found: whether there is such a topic, and how fresh that is.
pub(crate) struct Begun {
    pub(crate) follower: Result<Follower, Problem>,
    pub(crate) position: Position,
    pub(crate) staleness_ms: u64,
}

impl Follower {
    /// Begins where the query or the last event's id says.
    ///
    /// # Errors
    /// The problem to answer instead, where nothing was read.
    pub(crate) async fn begin(call: &Call, segment: &str, head: &Parts) -> Result<Begun, Problem> {
        let topic = id_of_segment("topic", segment)?;
        let EventsQuery { from, .. } = EventsQuery::parse(head.uri.query().unwrap_or(""))?;
        let last = sse::last_event_id(bytes_of(&head.headers, &LAST_EVENT_ID))?;
        let from = last.map_or(from, |last| last.saturating_add(1));
        let query = TopicQuery::Events { topic: topic.clone(), from, limit: STREAM_EVENTS_MAX, wait_until_us: None };
        let fresh = Fresh::of(call, &head.headers)?;
        let reply = call.app.read(fresh.level, fresh.deadline_us, Query::Topics(query)).await?;
        let ReadReply { found, position, staleness_ms } = reply;
        let follower = match found {
            Ok(Found::Topics(TopicFound::Events(page))) => {
                Ok(Self { call: call.clone(), topic, next: page.next, at_hand: Some(page) })
            }
            Ok(_) => return Err(internal("another kind of thing was found")),
            Err(error) => Err(problem_of_read(call, error, &topic)),
        };
        Ok(Begun { follower, position, staleness_ms })
    }

    /// What comes next; a page without events where none came for a while.
    ///
    /// # Errors
    /// Why the stream ends: the server stops, cannot read on, or the client's key is no longer in force.
    pub(crate) async fn next_page(&mut self) -> Result<TopicPage, Problem> {
        if let Some(page) = self.at_hand.take() {
            return Ok(page);
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
            reply = read => reply?,
            // A stream would hold up the stop for as long as nothing comes.
            () = self.call.app.stop.asked() => return Err(Problem::of(Code::Stopping).with_retry_after_ms(1_000)),
        };
        let page = match reply.found {
            Ok(Found::Topics(TopicFound::Events(page))) => page,
            Ok(_) => return Err(internal("another kind of thing was found")),
            Err(error) => return Err(problem_of_read(&self.call, error, &self.topic)),
        };
        if !self.call.is_still_allowed() {
            return Err(Problem::of(Code::Unauthenticated));
        }
        self.next = page.next;
        Ok(page)
    }

    /// The cell whose events they are.
    pub(crate) fn cell(&self) -> &CellName {
        self.call.app.cell.cell()
    }

    /// A page as JSON.
    pub(crate) fn json(&self, page: &TopicPage) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        write_events(&mut out, self.cell(), &page.events, page.next, page.is_end);
        out
    }
}
