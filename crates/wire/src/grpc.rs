//! The same operations over gRPC: messages become the same commands as JSON bodies do, so that a key that was used over
//! one is replayed over the other.
//!
//! The ledger's messages are read and written here by hand; all others are JSON bodies under another form (`transcode`).

pub(crate) mod json;
mod methods;
#[cfg(test)]
mod shapes;
mod transcode;

use machine::{BATCH_ITEMS_MAX, BatchEncoder, BatchMode, Body, Moved, Op, OpenAccount, Order, Record};
use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use words::{Amount, Key, Outcome, Stamp, check_key};

pub use methods::{METHODS, Method};
pub use transcode::{Form, Question, Told, form};

use crate::answer::{Item, ItemVerdict, status_of};
use crate::codes::Code;
use crate::cursor::{Cursor, List};
use crate::headers::idempotency_key;
use crate::instant::{format_instant, parse_instant};
use crate::problem::Problem;
use crate::proto;
use crate::query::{AccountsQuery, HistoryQuery, LIMIT_DEFAULT, LIMIT_MAX};
use crate::request::{
    amount_of_text, batch_command, canonical_metadata, check_hold, checked_id, checked_memo, command, floor_of_text,
    transfer_id,
};
use crate::view::{Account, Operation, event_word, state_word};

/// The most bytes of a problem in trailers: many clients take 8 KiB of them in all, and base 64 makes a third more of it.
const TRAILER_BYTES_MAX: usize = 4 << 10;

/// The key of a write.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`.
pub fn key_of(text: &str) -> Result<Key, Problem> {
    if text.is_empty() {
        return Err(Problem::of(Code::IdempotencyKeyMissing));
    }
    Key::new(text).map_err(|error| Problem::field(Code::IdempotencyKeyInvalid, "idempotency_key", error))
}

/// The key of a write: in the message's field, or where that is empty in the metadata, in the form of HTTP's header.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`, also for two that differ.
pub fn key_given<'a>(field: &str, metadata: impl IntoIterator<Item = &'a [u8]>) -> Result<Key, Problem> {
    let mut metadata = metadata.into_iter().peekable();
    if metadata.peek().is_none() {
        return key_of(field);
    }
    let key = idempotency_key(metadata)?;
    if !field.is_empty() && field != key.as_str() {
        return Err(Problem::field(Code::IdempotencyKeyInvalid, "idempotency_key", "is not the one in the metadata"));
    }
    Ok(key)
}

/// A message of the ledger with a key of its own.
pub trait Keyed {
    /// Its key.
    fn key_mut(&mut self) -> &mut String;
}

macro_rules! keyed {
    ($($message:ident,)*) => {
        $(impl Keyed for proto::$message {
            fn key_mut(&mut self) -> &mut String {
                &mut self.idempotency_key
            }
        })*
    };
}

keyed! { OpenAccountRequest, TransferRequest, CaptureRequest, VoidRequest, ReverseRequest, BatchRequest, }

/// Bounds the fields of an encoded message before it is decoded: each takes memory, however few its bytes are.
///
/// # Errors
/// `payload-too-large` for more than `fields_max`, `invalid-request` for what is no message (Protocol Buffers, "Encoding").
pub fn check_fields(message: &[u8], fields_max: usize) -> Result<(), Problem> {
    let broken = || Problem::new(Code::InvalidRequest, "The message is not one of protobuf.");
    let (mut rest, mut fields) = (message, 0);
    while !rest.is_empty() {
        fields += 1;
        if fields > fields_max {
            let what = format!("A message has at most {fields_max} fields, those of lists counted one by one.");
            return Err(Problem::new(Code::PayloadTooLarge, what));
        }
        let tag = varint(&mut rest).ok_or_else(broken)?;
        let bytes = match tag & 7 {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut rest),
            5 => Some(4),
            // Groups are of the first version of protobuf, and in no message here.
            _ => None,
        };
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        rest = bytes.and_then(|bytes| rest.get(bytes..)).ok_or_else(broken)?;
    }
    Ok(())
}

/// A base-128 number of at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The command of `OpenAccount`.
///
/// # Errors
/// As [`crate::request::parse_account`], and the key's.
pub fn open_account(request: &proto::OpenAccountRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    let floor = match (&request.floor, request.no_floor) {
        (None, true) => None,
        (None, false) => Some(0),
        (Some(text), false) => Some(floor_of_text("floor", text)?),
        (Some(_), true) => {
            return Err(Problem::field(Code::InvalidRequest, "no_floor", "is not given together with floor"));
        }
    };
    let metadata = metadata_of(&request.metadata_json)?;
    let op = OpenAccount {
        id: checked_id("id", &request.id)?,
        unit: checked_id("unit", &request.unit)?,
        floor,
        metadata: &metadata,
    };
    Ok(command(principal, key.as_str(), &Op::OpenAccount(op), request.encoded_len()))
}

/// The command of `Transfer`.
///
/// # Errors
/// As [`open_account`].
pub fn transfer(request: &proto::TransferRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    let metadata = metadata_of(&request.metadata_json)?;
    let order = order_of(request, &metadata)?;
    Ok(command(principal, key.as_str(), &Op::Transfer(order), request.encoded_len()))
}

/// The command of `Capture`.
///
/// # Errors
/// As [`crate::request::parse_capture`], and the key's.
pub fn capture(request: &proto::CaptureRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    let transfer = transfer_id(&request.transfer_id)?;
    let amount = part_of(request.amount.as_deref())?;
    Ok(command(principal, key.as_str(), &Op::Capture { transfer, amount }, 64))
}

/// The command of `Void`.
///
/// # Errors
/// As [`capture`].
pub fn void(request: &proto::VoidRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    let transfer = transfer_id(&request.transfer_id)?;
    Ok(command(principal, key.as_str(), &Op::Void { transfer }, 64))
}

/// The command of `Reverse`.
///
/// # Errors
/// As [`capture`].
pub fn reverse(request: &proto::ReverseRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    let transfer = transfer_id(&request.transfer_id)?;
    let amount = part_of(request.amount.as_deref())?;
    Ok(command(principal, key.as_str(), &Op::Reverse { transfer, amount }, 64))
}

/// The command of `Batch`.
///
/// # Errors
/// As [`crate::request::parse_batch`], and the key's.
pub fn batch(request: &proto::BatchRequest, principal: &str) -> Result<Vec<u8>, Problem> {
    let key = key_of(&request.idempotency_key)?;
    if request.items.is_empty() || request.items.len() > BATCH_ITEMS_MAX {
        let what = format!("a batch has 1 to {BATCH_ITEMS_MAX} items, this has {}", request.items.len());
        return Err(Problem::field(Code::InvalidRequest, "items", what));
    }
    let mut encoder = BatchEncoder::new(request.items.len());
    for (at, item) in request.items.iter().enumerate() {
        push(item, &mut encoder).map_err(|problem| problem.in_item(at as u64, &item.idempotency_key))?;
    }
    let mode = if request.atomic { BatchMode::Atomic } else { BatchMode::Each };
    Ok(batch_command(principal, key.as_str(), mode, &encoder))
}

fn push(item: &proto::TransferRequest, encoder: &mut BatchEncoder) -> Result<(), Problem> {
    let key = check_key(&item.idempotency_key)
        .map_err(|error| Problem::field(Code::IdempotencyKeyInvalid, "idempotency_key", error))?;
    let metadata = metadata_of(&item.metadata_json)?;
    encoder.push(key, &order_of(item, &metadata)?);
    Ok(())
}

fn order_of<'a>(request: &'a proto::TransferRequest, metadata: &'a str) -> Result<Order<'a>, Problem> {
    Ok(Order {
        from: checked_id("from", &request.from)?,
        to: checked_id("to", &request.to)?,
        amount: amount_of_text("amount", &request.amount)?,
        hold_ms: request.hold_ms.map(check_hold).transpose()?,
        memo: checked_memo(&request.memo)?,
        metadata,
    })
}

fn metadata_of(json: &str) -> Result<String, Problem> {
    if json.is_empty() { Ok(String::new()) } else { canonical_metadata(json) }
}

fn part_of(text: Option<&str>) -> Result<Option<Amount>, Problem> {
    text.map(|text| amount_of_text("amount", text)).transpose()
}

/// The query of `ListAccounts`.
///
/// # Errors
/// As [`AccountsQuery::parse`].
pub fn accounts_query(request: &proto::ListAccountsRequest) -> Result<AccountsQuery, Problem> {
    let unit = match request.unit.as_str() {
        "" => None,
        unit => Some(checked_id("unit", unit)?.to_owned()),
    };
    let at = cursor_of(List::Accounts, &request.unit, &request.cursor)?;
    Ok(AccountsQuery { limit: limit_of(request.limit)?, at, unit })
}

/// The query of `ListTransfers`.
///
/// # Errors
/// As [`HistoryQuery::parse`], and `invalid-request` for an account's id that is none.
pub fn history_query(request: &proto::ListTransfersRequest) -> Result<HistoryQuery, Problem> {
    let account = checked_id("account_id", &request.account_id)?;
    let instant = |name, text: &Option<String>| text.as_ref().map(|text| parse_instant(name, text)).transpose();
    Ok(HistoryQuery {
        limit: limit_of(request.limit)?,
        at: cursor_of(List::Transfers, account, &request.cursor)?,
        from: instant("from", &request.from)?,
        to: instant("to", &request.to)?,
    })
}

fn limit_of(limit: u32) -> Result<usize, Problem> {
    match usize::try_from(limit) {
        Ok(0) => Ok(LIMIT_DEFAULT),
        Ok(limit) if limit <= LIMIT_MAX => Ok(limit),
        _ => Err(Problem::field(Code::InvalidRequest, "limit", format_args!("is at most {LIMIT_MAX}"))),
    }
}

fn cursor_of(list: List, scope: &str, text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() { Ok(None) } else { Cursor::parse(list, scope, text).map(Some) }
}

/// An account as a message.
pub fn account(account: &Account<'_>) -> proto::Account {
    proto::Account {
        id: account.id.to_owned(),
        unit: account.unit.to_owned(),
        floor: account.floor.map(|floor| floor.to_string()),
        balance: account.balance.to_string(),
        held: account.held.to_string(),
        available: account.available().to_string(),
        metadata_json: account.metadata.to_owned(),
        created_at: format_instant(account.created),
        version: account.version,
    }
}

/// A transfer as a message, as the event left it.
pub fn transfer_view(moved: &Moved<'_>) -> proto::TransferView {
    proto::TransferView {
        id: moved.transfer.to_string(),
        from: moved.from.to_owned(),
        to: moved.to.to_owned(),
        unit: moved.unit.to_owned(),
        amount: moved.amount.to_string(),
        state: state_word(moved.event).to_owned(),
        memo: moved.memo.to_owned(),
        metadata_json: moved.metadata.to_owned(),
        created_at: format_instant(moved.created),
        hold_until: moved.hold_until.map(format_instant),
        reverses: moved.reverses.map(|transfer| transfer.to_string()),
        from_balance_after: moved.from_after.balance.to_string(),
        to_balance_after: moved.to_after.balance.to_string(),
    }
}

/// One item of a batch as a message.
pub fn item_answer(item: &Item<'_>) -> proto::ItemAnswer {
    use proto::item_answer::Answer;
    let (outcome, status, answer) = match decided(&item.verdict, item.key) {
        Ok(moved) => (Outcome::Committed, status_of(&moved), Answer::Transfer(transfer_view(&moved))),
        Err(problem) => (problem.outcome(), problem.code.status(), Answer::Problem(self::problem(&problem))),
    };
    proto::ItemAnswer {
        key: item.key.to_owned(),
        outcome: self::outcome(outcome).into(),
        status: status.into(),
        answer: Some(answer),
    }
}

fn decided<'a>(verdict: &ItemVerdict<'a>, key: &str) -> Result<Moved<'a>, Problem> {
    match *verdict {
        ItemVerdict::Decided(ref record) => moved_of(record, key),
        ItemVerdict::Refused(ref refusal) => Err(Problem::of_refusal(refusal, key)),
        ItemVerdict::Problem(problem) => Err(problem.clone()),
    }
}

/// What a record that answers a transfer, capture, void or reverse says.
///
/// # Errors
/// The problem that it says instead.
pub fn moved_of<'a>(record: &Record<'a>, key: &str) -> Result<Moved<'a>, Problem> {
    match record.body {
        Body::Moved(moved) => Ok(moved),
        _ => Err(refused_of(record, key)),
    }
}

/// What a record that answers `OpenAccount` says.
///
/// # Errors
/// The problem that it says instead.
pub fn opened_of(record: &Record<'_>, key: &str) -> Result<proto::Account, Problem> {
    match record.body {
        Body::Opened(ref opened) => Ok(account(&Account::opened(opened, record.stamp))),
        _ => Err(refused_of(record, key)),
    }
}

/// What a record that answers `Batch` says.
///
/// # Errors
/// The problem that it says instead.
pub fn batch_of<'a>(
    record: &Record<'_>,
    items: impl IntoIterator<Item = Item<'a>>,
) -> Result<proto::BatchResponse, Problem> {
    match record.body {
        Body::Batch { .. } => {
            Ok(proto::BatchResponse { items: items.into_iter().map(|item| item_answer(&item)).collect() })
        }
        _ => Err(refused_of(record, record.key)),
    }
}

fn refused_of(record: &Record<'_>, key: &str) -> Problem {
    match record.body {
        Body::Refused(ref refusal) => Problem::of_refusal(refusal, key),
        Body::BatchRefused { item, item_key, ref refusal } => Problem::of_batch(item, item_key, refusal, key),
        Body::Barred => Problem::of_barred(key),
        _ => Problem::of(Code::Internal),
    }
}

/// A page of accounts as a message.
pub fn accounts<'a>(
    items: impl IntoIterator<Item = Account<'a>>,
    next: Option<&Cursor>,
) -> proto::ListAccountsResponse {
    proto::ListAccountsResponse {
        items: items.into_iter().map(|item| account(&item)).collect(),
        next: next.map(ToString::to_string),
    }
}

/// A page of the history of `account` as a message. Records that move nothing (the opening) are left out.
pub fn history<'a>(
    account: &str,
    records: impl IntoIterator<Item = Record<'a>>,
    next: Option<&Cursor>,
) -> proto::ListTransfersResponse {
    let line = |record: Record<'a>| match record.body {
        Body::Moved(ref moved) => Some(history_line(account, record.stamp, moved)),
        _ => None,
    };
    proto::ListTransfersResponse {
        items: records.into_iter().filter_map(line).collect(),
        next: next.map(ToString::to_string),
    }
}

fn history_line(account: &str, stamp: Stamp, moved: &Moved<'_>) -> proto::HistoryLine {
    let after = if moved.from == account { &moved.from_after } else { &moved.to_after };
    proto::HistoryLine {
        transfer: Some(transfer_view(moved)),
        event: event_word(moved.event).to_owned(),
        at: format_instant(stamp),
        balance_after: after.balance.to_string(),
    }
}

/// An operation as a message.
pub fn operation(operation: &Operation<'_>) -> proto::Operation {
    proto::Operation {
        key: operation.key.to_owned(),
        outcome: outcome(operation.outcome).into(),
        status: operation.status.into(),
        body_json: String::from_utf8_lossy(operation.body).into_owned(),
        position: operation.position.map(|(cell, position)| format!("{cell}:{position}")),
        received_at: operation.received.map(format_instant),
        decided_at: operation.decided.map(format_instant),
        expires_at: operation.expires.map(format_instant),
        replays: operation.replays,
        joins: operation.joins,
    }
}

/// An outcome as a message's number.
pub const fn outcome(outcome: Outcome) -> proto::Outcome {
    match outcome {
        Outcome::Committed => proto::Outcome::Committed,
        Outcome::Refused => proto::Outcome::Refused,
        Outcome::Uncertain => proto::Outcome::Uncertain,
    }
}

/// The outcome of a message's number; `None` where none is said.
pub const fn outcome_of(outcome: proto::Outcome) -> Option<Outcome> {
    match outcome {
        proto::Outcome::Committed => Some(Outcome::Committed),
        proto::Outcome::Refused => Some(Outcome::Refused),
        proto::Outcome::Uncertain => Some(Outcome::Uncertain),
        proto::Outcome::Unspecified => None,
    }
}

/// A problem as a message: all that its JSON says.
pub fn problem(problem: &Problem) -> proto::Problem {
    let mut json = Vec::with_capacity(320);
    problem.write_json(&mut json);
    problem_of_json(&json).expect("a problem's JSON has the members of its message, each in its form")
}

/// A problem that is there as HTTP's body.
///
/// # Errors
/// What is wrong with the JSON, which is of our own making.
pub fn problem_of_json(json: &[u8]) -> Result<proto::Problem, serde_json::Error> {
    serde_json::from_slice(json)
}

/// A problem as a gRPC status, with `tertium-code`, `tertium-outcome` and `tertium-problem-bin` in its trailers.
pub fn status(problem: &Problem) -> tonic::Status {
    status_of_message(self::problem(problem))
}

/// The same of a message. What would make the trailers too large is left out.
pub fn status_of_message(mut problem: proto::Problem) -> tonic::Status {
    let row = Code::parse(&problem.code).unwrap_or(Code::Internal).row();
    if problem.encoded_len() > TRAILER_BYTES_MAX {
        (problem.call_json, problem.run_json) = (String::new(), String::new());
    }
    while problem.encoded_len() > TRAILER_BYTES_MAX && problem.errors.pop().is_some() {}
    let mut metadata = MetadataMap::new();
    metadata.insert("tertium-code", MetadataValue::from_static(row.text));
    metadata.insert("tertium-outcome", MetadataValue::from_static(row.outcome.as_str()));
    metadata.insert_bin("tertium-problem-bin", MetadataValue::from_bytes(&problem.encode_to_vec()));
    tonic::Status::with_metadata(tonic::Code::from(i32::from(row.grpc)), problem.detail, metadata)
}

#[cfg(test)]
mod tests;
