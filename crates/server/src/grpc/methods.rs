//! The methods of the service: each turns a message into a command or a query, and what came of it into a message.

use std::pin::Pin;

use cell::{Decided, Found, HistoryPage, Level, Query, ReadReply, Reply};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue};
use machine::Record;
use tonic::{Request, Response, Status, Streaming};
use wire::cursor::{Cursor, List};
use wire::grpc::{Keyed, Method};
use wire::proto::tertium_server::Tertium;
use wire::query::{AccountsQuery, HistoryQuery};
use wire::{Code, Problem, grpc, proto};
use words::{Outcome, TransferId};

use super::{Told, stream};
use crate::call::{Call, IDEMPOTENCY_KEY};
use crate::respond::{internal, item_keys, item_of, problem_of};
use crate::routes::{Fresh, no_transfer, problem_of_read, view_of};

/// The service. Who calls is in each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Methods;

/// A request taken apart: who asks, with which headers, for what.
pub(super) struct Asked<T> {
    pub(super) call: Call,
    pub(super) head: HeaderMap,
    pub(super) message: T,
    /// Which method it is of.
    pub(super) method: &'static Method,
}

impl<T> Asked<T> {
    pub(super) fn of(request: Request<T>) -> Result<Self, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let never_began = || Status::internal("a call that never began");
        let call = extensions.get::<Call>().cloned().ok_or_else(never_began)?;
        let method = extensions.get::<&'static Method>().copied().ok_or_else(never_began)?;
        Ok(Self { call, head: metadata.into_headers(), message, method })
    }
}

impl<T: Keyed> Asked<T> {
    /// The same of a write, whose key may stand in the metadata.
    fn of_write(request: Request<T>) -> Result<Self, Status> {
        let mut asked = Self::of(request)?;
        if !asked.head.contains_key(IDEMPOTENCY_KEY) {
            return Ok(asked);
        }
        let keys = asked.head.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes);
        match grpc::key_given(asked.message.key_mut(), keys) {
            Ok(key) => {
                key.as_str().clone_into(asked.message.key_mut());
                Ok(asked)
            }
            Err(problem) => {
                let refused = asked.call.tell::<()>(Err(problem));
                refused.map(|_| asked)
            }
        }
    }
}

#[tonic::async_trait]
impl Tertium for Methods {
    async fn open_account(
        &self,
        request: Request<proto::OpenAccountRequest>,
    ) -> Result<Response<proto::Account>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::open_account(&message, &call.principal);
        let told = write(&call, &head, &message.idempotency_key, command, |_, record| {
            grpc::opened_of(record, &message.idempotency_key)
        });
        let told = told.await;
        call.tell(told)
    }

    async fn transfer(
        &self,
        request: Request<proto::TransferRequest>,
    ) -> Result<Response<proto::TransferView>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::transfer(&message, &call.principal);
        move_money(&call, &head, &message.idempotency_key, command).await
    }

    async fn capture(&self, request: Request<proto::CaptureRequest>) -> Result<Response<proto::TransferView>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::capture(&message, &call.principal);
        move_money(&call, &head, &message.idempotency_key, command).await
    }

    async fn void(&self, request: Request<proto::VoidRequest>) -> Result<Response<proto::TransferView>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::void(&message, &call.principal);
        move_money(&call, &head, &message.idempotency_key, command).await
    }

    async fn reverse(&self, request: Request<proto::ReverseRequest>) -> Result<Response<proto::TransferView>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::reverse(&message, &call.principal);
        move_money(&call, &head, &message.idempotency_key, command).await
    }

    async fn batch(&self, request: Request<proto::BatchRequest>) -> Result<Response<proto::BatchResponse>, Status> {
        let Asked { call, head, message, .. } = Asked::of_write(request)?;
        let command = grpc::batch(&message, &call.principal);
        let again = command.clone().unwrap_or_default();
        let told = write(&call, &head, &message.idempotency_key, command, |decided, record| {
            let broken = Problem::of(Code::Internal);
            let keys = item_keys(&again).chain(std::iter::repeat(""));
            let parts = decided.answer.parts().skip(1).zip(keys);
            grpc::batch_of(record, parts.map(|(part, key)| item_of(part, key, &broken)))
        });
        let told = told.await;
        call.tell(told)
    }

    async fn get_account(
        &self,
        request: Request<proto::GetAccountRequest>,
    ) -> Result<Response<proto::Account>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let id = message.id;
        let told = read(&call, &head, true, &id, Query::Account { id: id.clone() }, |found| match found {
            Found::Account(account) => Ok(grpc::account(&view_of(&account))),
            _ => Err(internal("another kind of thing was found")),
        });
        let told = told.await;
        call.tell(told)
    }

    async fn get_transfer(
        &self,
        request: Request<proto::GetTransferRequest>,
    ) -> Result<Response<proto::TransferView>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let told = get_transfer(&call, &head, &message.id).await;
        call.tell(told)
    }

    async fn list_accounts(
        &self,
        request: Request<proto::ListAccountsRequest>,
    ) -> Result<Response<proto::ListAccountsResponse>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let told = list_accounts(&call, &head, message).await;
        call.tell(told)
    }

    async fn list_transfers(
        &self,
        request: Request<proto::ListTransfersRequest>,
    ) -> Result<Response<proto::ListTransfersResponse>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let told = list_transfers(&call, &head, message).await;
        call.tell(told)
    }

    async fn get_operation(
        &self,
        request: Request<proto::GetOperationRequest>,
    ) -> Result<Response<proto::Operation>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let told = get_operation(&call, &head, &message).await;
        call.tell(told)
    }

    async fn settle(&self, request: Request<proto::SettleRequest>) -> Result<Response<proto::Operation>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        let told = settle(&call, &head, &message.key).await;
        call.tell(told)
    }

    type TransferStreamStream = Pin<Box<dyn Stream<Item = Result<proto::FramesOut, Status>> + Send>>;

    async fn transfer_stream(
        &self,
        request: Request<Streaming<proto::FramesIn>>,
    ) -> Result<Response<Self::TransferStreamStream>, Status> {
        let Asked { call, head, message, .. } = Asked::of(request)?;
        match call.grpc_stream_patience_us(&head) {
            Ok(patience_us) => call.tell(Ok(Told::page(stream::answers(call.clone(), message, patience_us)))),
            Err(problem) => call.tell(Err(problem)),
        }
    }
}

impl<T> Told<T> {
    pub(super) const fn of(message: Result<T, Problem>) -> Self {
        Self { message, outcome: None, position: None, seen: None, replayed: false, joined: false, staleness_ms: None }
    }

    fn page(message: T) -> Self {
        Self::of(Ok(message))
    }
}

async fn move_money(
    call: &Call,
    head: &HeaderMap,
    key: &str,
    command: Result<Vec<u8>, Problem>,
) -> Result<Response<proto::TransferView>, Status> {
    let told = write(call, head, key, command, |_, record| {
        grpc::moved_of(record, key).map(|moved| grpc::transfer_view(&moved))
    });
    call.tell(told.await)
}

/// Hands a command to the cell and makes a message of what it decided.
async fn write<T>(
    call: &Call,
    head: &HeaderMap,
    key: &str,
    command: Result<Vec<u8>, Problem>,
    render: impl FnOnce(&Decided, &Record<'_>) -> Result<T, Problem>,
) -> Result<Told<T>, Problem> {
    let deadline_us = call.deadline_us(head)?;
    call.check_in_time(deadline_us, key)?;
    let decided = match call.app.write(command?, deadline_us).await {
        Reply::Decided(decided) => decided,
        Reply::Rejected(rejected) => return Err(problem_of(rejected, key)),
        Reply::Uncertain | Reply::Pending { .. } => return Err(Problem::of(Code::OutcomeUnknown).with_operation(key)),
    };
    let record = match decided.answer.first() {
        Some(cell::Part::Record { bytes, .. }) => Record::decode(bytes).map_err(internal)?,
        Some(cell::Part::Refused(refusal)) => return Ok(decided_as(&decided, Err(Problem::of_refusal(&refusal, key)))),
        None => return Err(internal("a decision without parts")),
    };
    let message = render(&decided, &record);
    Ok(decided_as(&decided, message))
}

fn decided_as<T>(decided: &Decided, message: Result<T, Problem>) -> Told<T> {
    let Decided { position, seen, replayed, joined, .. } = *decided;
    let outcome = message.is_ok().then_some(Outcome::Committed);
    Told { outcome, position: Some(position), seen: Some(seen), replayed, joined, ..Told::of(message) }
}

/// Asks the cell and makes a message of what it found.
async fn read<T>(
    call: &Call,
    head: &HeaderMap,
    of_account: bool,
    about: &str,
    query: Query,
    render: impl FnOnce(Found) -> Result<T, Problem>,
) -> Result<Told<T>, Problem> {
    let fresh = Fresh::of_call(call, head, call.deadline_us(head)?, of_account)?;
    let ReadReply { position, staleness_ms, found } = call.app.read(fresh.level, fresh.deadline_us, query).await?;
    let message = found.map_err(|error| problem_of_read(call, error, about)).and_then(render);
    Ok(Told { position: Some(position), seen: Some(position), staleness_ms: Some(staleness_ms), ..Told::of(message) })
}

async fn get_transfer(call: &Call, head: &HeaderMap, id: &str) -> Result<Told<proto::TransferView>, Problem> {
    let query = Query::Transfer { id: TransferId::parse(id).map_err(|_| no_transfer(id))? };
    read(call, head, false, id, query, |found| {
        let Found::Transfer(answer) = found else { return Err(internal("another kind of thing was found")) };
        let Some(cell::Part::Record { bytes, .. }) = answer.first() else {
            return Err(internal("a transfer without a record"));
        };
        grpc::moved_of(&Record::decode(bytes).map_err(internal)?, "").map(|moved| grpc::transfer_view(&moved))
    })
    .await
}

async fn list_accounts(
    call: &Call,
    head: &HeaderMap,
    message: proto::ListAccountsRequest,
) -> Result<Told<proto::ListAccountsResponse>, Problem> {
    let AccountsQuery { limit, at, unit } = grpc::accounts_query(&message)?;
    let query = Query::Accounts { from_slot: at.unwrap_or(0), limit, unit };
    read(call, head, false, "", query, |found| {
        let Found::Accounts { items, next } = found else { return Err(internal("another kind of thing was found")) };
        let next = next.map(|at| Cursor::new(List::Accounts, &message.unit, at));
        Ok(grpc::accounts(items.iter().map(view_of), next.as_ref()))
    })
    .await
}

async fn list_transfers(
    call: &Call,
    head: &HeaderMap,
    message: proto::ListTransfersRequest,
) -> Result<Told<proto::ListTransfersResponse>, Problem> {
    let HistoryQuery { limit, at, from, to } = grpc::history_query(&message)?;
    let id = message.account_id;
    let query = Query::History { id: id.clone(), before: at, from, to, limit };
    let found = read(call, head, false, &id, query, Ok).await?;
    let (position, seen, staleness_ms) = (found.position, found.seen, found.staleness_ms);
    let history = match found.message {
        Ok(Found::History(history)) => history,
        Ok(_) => return Err(internal("another kind of thing was found")),
        Err(problem) => return Ok(Told { position, seen, staleness_ms, ..Told::of(Err(problem)) }),
    };
    // It may be on the disk, which must not hold up other calls.
    let page = tokio::task::spawn_blocking(move || history.finish()).await.map_err(internal)?;
    let HistoryPage { records, next } = page.map_err(|fault| internal(format!("{fault:?}")))?;
    let mut lines = Vec::with_capacity(records.parts().len());
    for part in records.parts() {
        if let cell::Part::Record { bytes, .. } = part {
            lines.push(Record::decode(bytes).map_err(internal)?);
        }
    }
    let next = next.map(|at| Cursor::new(List::Transfers, &id, at));
    Ok(Told { position, seen, staleness_ms, ..Told::page(grpc::history(&id, lines, next.as_ref())) })
}

async fn get_operation(
    call: &Call,
    head: &HeaderMap,
    message: &proto::GetOperationRequest,
) -> Result<Told<proto::Operation>, Problem> {
    let key = grpc::key_of(&message.key)?;
    let deadline_us = call.deadline_us(head)?;
    let wait_until_us = (message.wait_ms > 0)
        .then(|| call.app.cell.now_us().saturating_add(message.wait_ms.saturating_mul(1_000)).min(deadline_us));
    let (principal, key) = (call.principal.to_string(), key.as_str().to_owned());
    let query = Query::Operation { principal, key: key.clone(), wait_until_us };
    read(call, head, false, &key, query, |found| operation_of(call, &key, found)).await
}

async fn settle(call: &Call, head: &HeaderMap, key: &str) -> Result<Told<proto::Operation>, Problem> {
    let key = grpc::key_of(key)?;
    let key = key.as_str();
    let command = Ok(wire::request::settle(&call.principal, key));
    let Told { message, position, seen, joined, .. } = write(call, head, key, command, |_, _| Ok(())).await?;
    message?;
    // From here on the key is definite: that its answer cannot be read now must not sound as if nothing had happened.
    let unread = || Problem::of(Code::OutcomeUnknown).with_operation(key);
    let level = Level::Session(seen.ok_or_else(unread)?);
    let query = Query::Operation { principal: call.principal.to_string(), key: key.to_owned(), wait_until_us: None };
    let reply = call.app.read(level, call.deadline_us(head)?, query).await.map_err(|_| unread())?;
    let message = reply.found.map_err(|_| unread()).and_then(|found| operation_of(call, key, found));
    let outcome = message.as_ref().ok().map(|operation| operation.outcome);
    let outcome = outcome.and_then(|outcome| grpc::outcome_of(proto::Outcome::try_from(outcome).ok()?));
    Ok(Told { outcome, position, seen: Some(reply.position), joined, ..Told::of(message) })
}

fn operation_of(call: &Call, key: &str, found: Found) -> Result<proto::Operation, Problem> {
    let Found::Operation(operation) = found else { return Err(internal("another kind of thing was found")) };
    crate::routes::with_operation(call, key, &operation, grpc::operation)
}
