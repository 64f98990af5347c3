//! Reads: at a level, with the position they were judged on.

use cell::{Found, HistoryPage, Level, Query, ReadError, ReadReply};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use machine::Record;
use wire::cursor::{Cursor, List};
use wire::headers::Consistency;
use wire::path::id_of_segment;
use wire::query::{AccountsQuery, HistoryQuery, no_query};
use wire::view::{Account, write_account, write_accounts, write_history};
use wire::{Code, Problem};
use words::TransferId;

use super::{calls, leases, operations, pages, sagas, topics};
use crate::call::{Call, bytes_of};
use crate::respond::{Answered, answer_of, internal};
use crate::route::Route;

const TERTIUM_CONSISTENCY: HeaderName = HeaderName::from_static("tertium-consistency");

/// How fresh a read must be, and until when.
pub(crate) struct Fresh {
    pub(crate) level: Level,
    pub(crate) deadline_us: u64,
}

impl Fresh {
    /// As the headers ask; a position is for single accounts only.
    pub(crate) fn of(call: &Call, headers: &HeaderMap) -> Result<Self, Problem> {
        Self::of_call(call, headers, call.deadline_us(headers)?, false)
    }

    /// As the headers ask, for a read that has its deadline from elsewhere.
    pub(crate) fn of_call(
        call: &Call,
        headers: &HeaderMap,
        deadline_us: u64,
        of_account: bool,
    ) -> Result<Self, Problem> {
        let level = level_of(call, wire::headers::consistency(bytes_of(headers, &TERTIUM_CONSISTENCY))?)?;
        if matches!(level, Level::At(_)) && !of_account {
            let what = "at=<position> is for reading one account; other reads take another level";
            return Err(Problem::field(Code::ConsistencyInvalid, "Tertium-Consistency", what));
        }
        Ok(Self { level, deadline_us })
    }
}

/// The level for a read that asked for `consistency`.
///
/// # Errors
/// `consistency-invalid` for a position of another cell.
fn level_of(call: &Call, consistency: Option<Consistency>) -> Result<Level, Problem> {
    let cell = call.app.cell.cell();
    Ok(match consistency {
        None => call.app.consistency,
        Some(Consistency::Linearizable) => Level::Linearizable,
        Some(Consistency::Session) => Level::Session(call.session.seen(cell)),
        Some(Consistency::Bounded { staleness_ms_max: ms }) => Level::Bounded { ms },
        Some(Consistency::Eventual) => Level::Eventual,
        Some(Consistency::At(at)) if at.cell == *cell => Level::At(at.position),
        Some(Consistency::At(at)) => {
            let what = format!("at={at} is a position of another cell; this one is called {cell}");
            return Err(Problem::field(Code::ConsistencyInvalid, "Tertium-Consistency", what));
        }
    })
}

/// Answers a read.
///
/// # Errors
/// The problem to answer instead.
pub(crate) async fn read(call: &Call, route: Route<'_>, head: &Parts) -> Result<Answered, Problem> {
    match route {
        Route::Account(id) => account(call, id, head).await,
        Route::Accounts => accounts(call, head).await,
        Route::History(id) => history(call, id, head).await,
        Route::ReadTransfer(id) => transfer(call, id, head).await,
        Route::Operation(key) => operations::read(call, key, head).await,
        Route::Topic(route) => topics::read(call, route, head).await,
        Route::Saga(route) => sagas::read(call, route, head).await,
        Route::Lease(route) => leases::read(call, route, head).await,
        Route::Uncertain => calls::uncertain(call, head).await,
        _ => pages::read(call, route, head).await,
    }
}

async fn account(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let id = id_of_segment("id", segment)?;
    no_query(head.uri.query().unwrap_or(""))?;
    let fresh = Fresh::of_call(call, &head.headers, call.deadline_us(&head.headers)?, true)?;
    let reply = call.app.read(fresh.level, fresh.deadline_us, Query::Account { id: id.clone() }).await?;
    answer(call, reply, &id, |found| {
        let Found::Account(account) = found else { return Err(internal("another kind of thing was found")) };
        let mut out = Vec::with_capacity(256);
        write_account(&mut out, &view_of(&account));
        Ok(out)
    })
}

async fn accounts(call: &Call, head: &Parts) -> Result<Answered, Problem> {
    let AccountsQuery { limit, at, unit } = AccountsQuery::parse(head.uri.query().unwrap_or(""))?;
    let fresh = Fresh::of(call, &head.headers)?;
    let query = Query::Accounts { from_slot: at.unwrap_or(0), limit, unit: unit.clone() };
    let reply = call.app.read(fresh.level, fresh.deadline_us, query).await?;
    answer(call, reply, "", |found| {
        let Found::Accounts { items, next } = found else { return Err(internal("another kind of thing was found")) };
        let next = next.map(|at| Cursor::new(List::Accounts, unit.as_deref().unwrap_or(""), at));
        let mut out = Vec::with_capacity(64 + items.len() * 256);
        write_accounts(&mut out, items.iter().map(view_of), next.as_ref());
        Ok(out)
    })
}

async fn history(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let id = id_of_segment("id", segment)?;
    let HistoryQuery { limit, at, from, to } = HistoryQuery::parse(head.uri.query().unwrap_or(""), &id)?;
    let fresh = Fresh::of(call, &head.headers)?;
    let query = Query::History { id: id.clone(), before: at, from, to, limit };
    let mut reply = call.app.read(fresh.level, fresh.deadline_us, query).await?;
    let page = match reply.found {
        Ok(Found::History(history)) if history.is_complete() => history.finish(),
        // What is not in memory is read from the disk, which must not hold up other requests.
        Ok(Found::History(history)) => tokio::task::spawn_blocking(move || history.finish()).await.map_err(internal)?,
        Ok(_) => return Err(internal("another kind of thing was found")),
        Err(error) => {
            reply.found = Err(error);
            return answer(call, reply, &id, |_| Err(internal("an error that is none")));
        }
    };
    let HistoryPage { records, next } = page.map_err(|fault| internal(format!("{fault:?}")))?;
    let mut lines = Vec::with_capacity(records.parts().len());
    for part in records.parts() {
        if let cell::Part::Record { bytes, .. } = part {
            lines.push(Record::decode(bytes).map_err(internal)?);
        }
    }
    let next = next.map(|at| Cursor::new(List::Transfers, &id, at));
    let mut out = Vec::with_capacity(64 + lines.len() * 400);
    write_history(&mut out, &id, lines, next.as_ref());
    Ok(read_answer(Answered::page(wire::answer::JSON_TYPE, out), reply.position, reply.staleness_ms))
}

async fn transfer(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let text = id_of_segment("id", segment)?;
    no_query(head.uri.query().unwrap_or(""))?;
    let id = TransferId::parse(&text).map_err(|_| no_transfer(&text))?;
    let fresh = Fresh::of(call, &head.headers)?;
    let reply = call.app.read(fresh.level, fresh.deadline_us, Query::Transfer { id }).await?;
    answer(call, reply, &text, |found| match found {
        Found::Transfer(found) => Ok(answer_of(&found, "", None)?.body),
        _ => Err(internal("another kind of thing was found")),
    })
}

pub(super) fn answer(
    call: &Call,
    reply: ReadReply,
    about: &str,
    render: impl FnOnce(Found) -> Result<Vec<u8>, Problem>,
) -> Result<Answered, Problem> {
    let answered = match reply.found {
        Ok(found) => Answered::page(wire::answer::JSON_TYPE, render(found)?),
        Err(error) => Answered::problem(&problem_of_read(call, error, about)),
    };
    Ok(read_answer(answered, reply.position, reply.staleness_ms))
}

pub(super) fn read_answer(mut answered: Answered, position: words::Position, staleness_ms: u64) -> Answered {
    answered.position = Some(position);
    answered.seen = Some(position);
    answered.extra.staleness_ms = Some(staleness_ms);
    answered
}

/// Why a read of `about` has no answer, in the wire's words.
pub(crate) fn problem_of_read(call: &Call, error: ReadError, about: &str) -> Problem {
    match error {
        ReadError::AccountNotFound => Problem::new(Code::AccountNotFound, format!("There is no account {about}.")),
        ReadError::TransferNotFound => no_transfer(about),
        ReadError::TopicNotFound => Problem::new(Code::TopicNotFound, format!("There is no topic {about}.")),
        ReadError::SubscriptionNotFound => {
            Problem::new(Code::SubscriptionNotFound, format!("There is no subscription {about}."))
        }
        ReadError::SagaNotFound => Problem::new(Code::SagaNotFound, format!("There is no saga {about}.")),
        ReadError::RunNotFound => Problem::new(Code::RunNotFound, format!("There is no run {about}.")),
        ReadError::OperationUnknown => Problem::new(
            Code::OperationUnknown,
            "No operation was decided here under this key, or it is no longer kept.",
        ),
        ReadError::Unavailable { applied } => {
            let applied = format!("{}:{applied}", call.app.cell.cell());
            let detail = format!("The level could not be met within the deadline. Applied here so far: {applied}.");
            Problem::new(Code::ConsistencyUnavailable, detail).with_could_have("eventual").with_retry_after_ms(1_000)
        }
        ReadError::NotRetained => {
            let detail = "That position is not kept here: it has not come yet, or it is older than what is retained.";
            Problem::new(Code::ConsistencyUnavailable, detail).with_could_have("linearizable")
        }
        ReadError::Stopping => Problem::of(Code::Stopping).with_retry_after_ms(1_000),
        ReadError::Overloaded => Problem::of(Code::Overloaded).with_retry_after_ms(1_000),
    }
}

/// There is no transfer of that id.
pub(crate) fn no_transfer(id: &str) -> Problem {
    Problem::new(Code::TransferNotFound, format!("There is no transfer {id}."))
}

/// An account as the wire knows it.
pub(crate) fn view_of(account: &cell::Account) -> Account<'_> {
    Account {
        id: &account.id,
        unit: &account.unit,
        floor: account.floor,
        balance: account.balance,
        held: account.held,
        metadata: &account.metadata,
        created: account.created,
        version: account.version,
    }
}
