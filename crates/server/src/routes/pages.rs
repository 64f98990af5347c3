//! What the server says of itself: health, metrics, its own description, and a page for each error.

use std::sync::LazyLock;

use bytes::Bytes;
use cell::{Found, Level, Query, TopicFound, TopicQuery};
use http::header::ACCEPT;
use http::request::Parts;
use wire::node::Node;
use wire::remedy::{self, Form};
use wire::view::{Ready, write_ready};
use wire::{Code, Problem};
use words::Position;

use crate::call::{Call, bytes_of};
use crate::metrics::SUBSCRIPTIONS_MAX;
use crate::nodes::{Nodes, role_name};
use crate::respond::Answered;
use crate::route::Route;

/// Made once: it says the same as long as the process lives.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| wire::openapi::document().into());

/// Answers what needs nothing from the cell but its status, and for metrics how far its subscriptions are.
///
/// # Errors
/// `not-found` for the page of a code that there is not.
pub(super) async fn read(call: &Call, route: Route<'_>, head: &Parts) -> Result<Answered, Problem> {
    let accept = bytes_of(&head.headers, &ACCEPT);
    let form = Form::of_accept(accept);
    Ok(match route {
        Route::Healthz => Answered::page("text/plain; charset=utf-8", "ok\n"),
        Route::Readyz => ready(call),
        Route::Nodes => nodes(call),
        Route::Metrics => {
            let accept = accept.and_then(|accept| std::str::from_utf8(accept).ok());
            look_at_subscriptions(call).await;
            let (content_type, text) = call.app.metrics.render(accept);
            Answered::page(content_type, text)
        }
        Route::OpenApi => Answered::page(wire::answer::JSON_TYPE, OPENAPI.clone()),
        Route::Errors => Answered::page(form.content_type(), remedy::index(form)),
        Route::Error(code) => {
            let code = Code::parse(code).ok_or_else(|| Problem::of(Code::NotFound))?;
            Answered::page(form.content_type(), remedy::page(code, form))
        }
        _ => return Err(crate::respond::internal("a route that is no page")),
    })
}

/// How long the cell may take to say how far its subscriptions are, in microseconds. Without it they are told as they were.
const LOOK_US_MAX: u64 = 1_000_000;

async fn look_at_subscriptions(call: &Call) {
    let query = Query::Topics(TopicQuery::Subscriptions { after: String::new(), limit: SUBSCRIPTIONS_MAX });
    let deadline_us = call.app.cell.now_us().saturating_add(LOOK_US_MAX);
    if let Ok(reply) = call.app.read(Level::Eventual, deadline_us, query).await
        && let Ok(Found::Topics(TopicFound::Subscriptions(views))) = reply.found
    {
        call.app.metrics.note_subscriptions(views);
    }
}

/// A follower that was not sure for so long what is acknowledged, in microseconds, is not ready: its reads are old, or not answered.
const LAG_US_READY: u64 = 10_000_000;

fn ready(call: &Call) -> Answered {
    let status = call.app.cell.status();
    let stopping = call.app.stop.is_stopping();
    let follows = status.role == cell::Role::Follower;
    let lag_us = if follows { call.app.cell.now_us().saturating_sub(status.proven_us) } else { 0 };
    let is_behind = follows && (status.proven_us == 0 || lag_us > LAG_US_READY);
    let (ready, reason) = match follows {
        _ if stopping => (false, "stopping"),
        true if is_behind => (false, "it does not know what is acknowledged"),
        true => (true, ""),
        false => (status.writable, status.reason),
    };
    let mut out = Vec::with_capacity(160);
    write_ready(
        &mut out,
        &Ready {
            ready,
            role: if stopping { "stopping" } else { role_name(status.role) },
            node: call.app.node.to_str().unwrap_or_default(),
            epoch: status.epoch,
            leader: &status.leader,
            position: (call.app.cell.cell(), status.position),
            lag_ms: lag_us.div_ceil(1_000),
            reason,
        },
    );
    let mut answered = Answered::page(wire::answer::JSON_TYPE, out);
    answered.status = if ready { 200 } else { 503 };
    answered.position = Some(status.position);
    answered
}

/// All nodes of the cell; where it is alone, this one.
fn nodes(call: &Call) -> Answered {
    let cell = call.app.cell.cell();
    let known = call.app.nodes.as_ref().map(Nodes::known);
    let mut out = Vec::with_capacity(512);
    match &known {
        Some(known) => wire::node::write_nodes(
            &mut out,
            known.iter().map(|seen| Node {
                node: &seen.said.node,
                advertise: &seen.said.advertise,
                region: &seen.said.region,
                role: &seen.said.role,
                position: (cell, Position { epoch: seen.said.epoch, index: seen.said.index }),
                seen_ms_ago: seen.ago_ms,
            }),
        ),
        None => {
            let status = call.app.cell.status();
            let me = Node {
                node: call.app.node.to_str().unwrap_or_default(),
                advertise: "",
                region: "",
                role: role_name(status.role),
                position: (cell, status.position),
                seen_ms_ago: 0,
            };
            wire::node::write_nodes(&mut out, [me]);
        }
    }
    Answered::page(wire::answer::JSON_TYPE, out)
}
