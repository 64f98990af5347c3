//! Request bodies become encoded commands.
//!
//! Strict on purpose: what is not understood is refused by name, since a field that is silently dropped is a request
//! that means less than its sender thinks. The bytes made here are canonical, so bodies that differ only in white space
//! or in the order of members are the same request.

mod call;
mod event;
mod lease;
mod metadata;
mod number;
mod object;
mod saga;
mod topic;

use std::fmt;

use machine::{BATCH_ITEMS_MAX, BatchEncoder, BatchMode, Op, OpenAccount, Order, encode_head};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use words::{Stamp, TransferId, check_id, check_key};

pub use call::{Asked, CALL_BODY_BYTES_MAX, parse_call, parse_resolve};
pub use event::{EVENT_DATA_BYTES_MAX, EVENT_DEPTH_MAX, EventForm, parse_events};
pub use lease::{parse_acquire, parse_release, parse_renew};
pub use metadata::{METADATA_BYTES_MAX, METADATA_DEPTH_MAX, canonical_metadata};
pub use number::HOLD_MS_MAX;
use number::{AmountIn, FloorIn, HoldIn};
pub(crate) use number::{amount_of_text, check_amount, check_hold, floor_of_text};
use object::{Object, Text, read};
pub(crate) use saga::open_state;
pub use saga::{ControlVerb, RUN_INPUT_BYTES_MAX, define, parse_control, parse_control_many, parse_run};
pub use topic::{
    PAUSE_AFTER_MS_DEFAULT, parse_acknowledgement, parse_letters, parse_publish, parse_subscription, parse_topic,
    parse_unsubscribe,
};

use crate::codes::Code;
use crate::problem::Problem;

/// The longest memo, in bytes.
pub const MEMO_BYTES_MAX: usize = 1_024;

/// The command of `POST /v1/accounts`.
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_account(body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(account): Object<AccountIn<'_>> = read(body)?;
    let (id, unit) = (checked_id("id", &account.id.0)?, checked_id("unit", &account.unit.0)?);
    let metadata = metadata_of(account.metadata)?;
    let op = OpenAccount { id, unit, floor: account.floor.check("floor")?, metadata: &metadata };
    Ok(command(principal, key, &Op::OpenAccount(op), body.len()))
}

/// The command of `POST /v1/transfers`.
///
/// # Errors
/// As [`parse_account`].
pub fn parse_transfer(body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(TransferIn { from, to, amount, hold_ms, memo, metadata }) = read(body)?;
    let fields = Fields { from: &from, to: &to, amount, hold_ms, memo: &memo, metadata };
    let canonical = metadata_of(fields.metadata)?;
    let order = fields.order(&canonical)?;
    Ok(command(principal, key, &Op::Transfer(order), body.len()))
}

/// The command of `POST /v1/transfers/{id}/capture`, `transfer` being the id from the path, decoded.
///
/// # Errors
/// As [`parse_account`], and `transfer-not-found` for an id that no transfer can have.
pub fn parse_capture(transfer: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let transfer = transfer_id(transfer)?;
    let Object(PartIn { amount }) = read(or_empty_object(body))?;
    let amount = amount.map(|amount| amount.check("amount")).transpose()?;
    Ok(command(principal, key, &Op::Capture { transfer, amount }, body.len()))
}

/// The command of `POST /v1/transfers/{id}/void`.
///
/// # Errors
/// As [`parse_capture`].
pub fn parse_void(transfer: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let transfer = transfer_id(transfer)?;
    let Object(NothingIn {}) = read(or_empty_object(body))?;
    Ok(command(principal, key, &Op::Void { transfer }, body.len()))
}

/// The command of `POST /v1/transfers/{id}/reverse`.
///
/// # Errors
/// As [`parse_capture`].
pub fn parse_reverse(transfer: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let transfer = transfer_id(transfer)?;
    let Object(PartIn { amount }) = read(or_empty_object(body))?;
    let amount = amount.map(|amount| amount.check("amount")).transpose()?;
    Ok(command(principal, key, &Op::Reverse { transfer, amount }, body.len()))
}

/// The command of `POST /v1/transfers/batch`.
///
/// # Errors
/// As [`parse_account`]; a problem with an item names it, and the whole batch is refused.
pub fn parse_batch(body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(BatchIn { atomic, items: ItemsIn { encoder, count, problem } }) = read(body)?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    if count == 0 {
        return Err(Problem::field(Code::InvalidRequest, "items", "a batch has at least 1 item"));
    }
    if count > BATCH_ITEMS_MAX {
        return Err(Problem::field(Code::InvalidRequest, "items", TooManyItems { count }));
    }
    let mode = if atomic { BatchMode::Atomic } else { BatchMode::Each };
    Ok(batch_command(principal, key, mode, &encoder))
}

/// The command of `POST /v1/operations/{key}/settle`.
pub fn settle(principal: &str, key: &str) -> Vec<u8> {
    command(principal, key, &Op::Settle, 0)
}

/// Reads one line of `application/x-ndjson` into `batch`.
///
/// # Errors
/// The item's key, if the line could be read so far, and the problem; `batch` is as it was. Give both to
/// [`crate::answer::write_item_problem`].
pub fn parse_line(line: &[u8], batch: &mut BatchEncoder) -> Result<(), (Option<String>, Problem)> {
    let Object(item): Object<ItemIn<'_>> = read(line).map_err(|problem| (None, problem))?;
    let key = check_key(&item.key.0)
        .map_err(|error| (None, Problem::field(Code::IdempotencyKeyInvalid, "key", error)))?
        .to_owned();
    item.push(batch).map_err(|problem| (Some(key), problem))
}

/// The command of the items of a stream: each decided for itself, with no key for all of them.
pub fn stream_command(principal: &str, batch: &BatchEncoder) -> Vec<u8> {
    batch_command(principal, "", BatchMode::Stream, batch)
}

/// A whole command.
pub(crate) fn command(principal: &str, key: &str, op: &Op<'_>, bytes_hint: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + principal.len() + key.len() + bytes_hint);
    encode_head(&mut out, Stamp::ZERO, principal, key);
    op.encode(&mut out);
    out
}

/// A whole command of a batch.
pub(crate) fn batch_command(principal: &str, key: &str, mode: BatchMode, items: &BatchEncoder) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + principal.len() + key.len() + items.len() * 80);
    encode_head(&mut out, Stamp::ZERO, principal, key);
    items.finish(mode, &mut out);
    out
}

/// Checks an id and names the field that held it.
pub(crate) fn checked_id<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    check_id(text).map_err(|error| Problem::field(Code::InvalidRequest, field, error))
}

/// Checks a memo: a person's note, on one line.
pub(crate) fn checked_memo(memo: &str) -> Result<&str, Problem> {
    if memo.len() > MEMO_BYTES_MAX {
        let what = format!("a memo has at most {MEMO_BYTES_MAX} bytes, this has {}", memo.len());
        return Err(Problem::field(Code::InvalidRequest, "memo", what));
    }
    if memo.chars().any(char::is_control) {
        return Err(Problem::field(Code::InvalidRequest, "memo", "a memo has no control characters"));
    }
    Ok(memo)
}

/// The transfer of that id; one that is no id of this kind cannot be found.
pub(crate) fn transfer_id(text: &str) -> Result<TransferId, Problem> {
    TransferId::parse(text)
        .map_err(|error| Problem::new(Code::TransferNotFound, format!("There is no transfer {text}: {error}.")))
}

/// No body at all stands for an empty object where every field is optional.
fn or_empty_object(body: &[u8]) -> &[u8] {
    if body.is_empty() { b"{}" } else { body }
}

fn metadata_of(raw: Option<&RawValue>) -> Result<String, Problem> {
    raw.map_or(Ok(String::new()), |raw| canonical_metadata(raw.get()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountIn<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    unit: Text<'a>,
    #[serde(default)]
    floor: FloorIn,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferIn<'a> {
    #[serde(borrow)]
    from: Text<'a>,
    #[serde(borrow)]
    to: Text<'a>,
    amount: AmountIn,
    #[serde(default)]
    hold_ms: Option<HoldIn>,
    #[serde(borrow, default)]
    memo: Option<Text<'a>>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemIn<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    from: Text<'a>,
    #[serde(borrow)]
    to: Text<'a>,
    amount: AmountIn,
    #[serde(default)]
    hold_ms: Option<HoldIn>,
    #[serde(borrow, default)]
    memo: Option<Text<'a>>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartIn {
    #[serde(default)]
    amount: Option<AmountIn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingIn {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchIn {
    atomic: bool,
    items: ItemsIn,
}

/// What a transfer and an item have in common, not checked yet.
struct Fields<'a, 'de> {
    from: &'a Text<'de>,
    to: &'a Text<'de>,
    amount: AmountIn,
    hold_ms: Option<HoldIn>,
    memo: &'a Option<Text<'de>>,
    metadata: Option<&'de RawValue>,
}

impl<'a> Fields<'a, '_> {
    fn order(&self, metadata: &'a str) -> Result<Order<'a>, Problem> {
        Ok(Order {
            from: checked_id("from", &self.from.0)?,
            to: checked_id("to", &self.to.0)?,
            amount: self.amount.check("amount")?,
            hold_ms: self.hold_ms.map(HoldIn::check).transpose()?,
            memo: self.memo.as_ref().map_or(Ok(""), |Text(memo)| checked_memo(memo))?,
            metadata,
        })
    }
}

impl ItemIn<'_> {
    fn push(&self, batch: &mut BatchEncoder) -> Result<(), Problem> {
        let Self { ref key, ref from, ref to, amount, hold_ms, ref memo, metadata } = *self;
        let key = check_key(&key.0).map_err(|error| Problem::field(Code::IdempotencyKeyInvalid, "key", error))?;
        let fields = Fields { from, to, amount, hold_ms, memo, metadata };
        let canonical = metadata_of(metadata)?;
        batch.push(key, &fields.order(&canonical)?);
        Ok(())
    }
}

/// The items of a batch, encoded while they are read. The first problem with what an item means is kept and the rest is
/// only read, because a body that is not JSON is that first of all.
struct ItemsIn {
    encoder: BatchEncoder,
    count: usize,
    problem: Option<Problem>,
}

impl<'de> Deserialize<'de> for ItemsIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = ItemsIn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ItemsIn, A::Error> {
        let mut items = ItemsIn { encoder: BatchEncoder::new(64), count: 0, problem: None };
        while let Some(Object(item)) = seq.next_element::<Object<ItemIn<'de>>>()? {
            if items.problem.is_none() && items.count < BATCH_ITEMS_MAX {
                let pushed = item.push(&mut items.encoder);
                items.problem = pushed.err().map(|problem| problem.in_item(items.count as u64, &item.key.0));
            }
            items.count += 1;
            if items.count > 16 * BATCH_ITEMS_MAX {
                return Err(A::Error::custom(TooManyItems { count: items.count }));
            }
        }
        Ok(items)
    }
}

struct TooManyItems {
    count: usize,
}

impl fmt::Display for TooManyItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a batch has at most {BATCH_ITEMS_MAX} items, this has {}", self.count)
    }
}

#[cfg(test)]
mod tests;
