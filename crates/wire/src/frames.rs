//! Packed frames: many transfers in one piece of bytes, with fixed places instead of tags. The layout is written down
//! for strangers in `tertium.proto`, at `TransferFrame` and `AnswerFrame`.
//!
//! One protobuf message per transfer would cost more than everything else that happens to it.

use machine::{BATCH_ITEMS_MAX, BatchEncoder, Body, Moved, Order};
use words::{Outcome, TransferId, check_key};

use crate::answer::{ItemVerdict, status_of};
use crate::codes::Code;
use crate::problem::Problem;
use crate::request::{canonical_metadata, check_amount, check_hold, checked_id, checked_memo};

const VERSION: u8 = 1;
/// version, reserved, count.
const HEAD_BYTES: usize = 4;
/// The part of an item before its texts.
const ITEM_BYTES: usize = 3 + 1 + 2 + 2 + 16 + 8;
/// An item's whole answer.
const ANSWER_BYTES: usize = 1 + 1 + 2 + 1 + 3 + 16 + 16 + 16;
// The numbers that the .proto promises.
const _: () = assert!(ITEM_BYTES == 32 && ANSWER_BYTES == 56);
const _: () = assert!(BATCH_ITEMS_MAX <= u16::MAX as usize, "a frame's count is 16 bits");

const FLAG_HOLD: u8 = 1;

/// What a frame held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// How many items, those refused included.
    pub count: usize,
    /// Items that have the form but not the meaning, by their place from 0; they are not in the batch.
    pub refused: Vec<(usize, Code)>,
}

/// Reads a frame into `batch`, whose items are then those of the frame in order, without the refused ones.
///
/// # Errors
/// `invalid-request` for the whole frame where it does not have the form; `batch` is as it was.
pub fn decode_frame(packed: &[u8], batch: &mut BatchEncoder) -> Result<Received, Problem> {
    let count = check_form(packed)?;
    let mut received = Received { count, refused: Vec::new() };
    let mut rest = &packed[HEAD_BYTES..];
    for at in 0..count {
        let (item, after) = PackedItem::split(rest).ok_or_else(|| malformed("ends too early"))?;
        rest = after;
        if let Err(problem) = item.push(batch) {
            received.refused.push((at, problem.code));
        }
    }
    Ok(received)
}

/// Walks over all lengths before anything is taken, so that a broken frame leaves nothing behind.
fn check_form(packed: &[u8]) -> Result<usize, Problem> {
    let (&[version, reserved, count0, count1], mut rest) =
        packed.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| malformed("ends too early"))?;
    if version != VERSION || reserved != 0 {
        return Err(malformed("is of another version"));
    }
    let count = usize::from(u16::from_le_bytes([count0, count1]));
    if count == 0 || count > BATCH_ITEMS_MAX {
        return Err(malformed("has 1 to 8192 items"));
    }
    for _ in 0..count {
        let (item, after) = PackedItem::split(rest).ok_or_else(|| malformed("ends too early"))?;
        if item.flags & !FLAG_HOLD != 0 || (item.flags & FLAG_HOLD == 0 && item.hold_ms != 0) {
            return Err(malformed("has flags or a hold that do not fit"));
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(malformed("goes on after its last item"));
    }
    Ok(count)
}

#[cold]
fn malformed(what: &str) -> Problem {
    Problem::field(Code::InvalidRequest, "packed", format_args!("the frame {what}"))
}

/// An item in its place, not checked yet.
#[derive(Clone, Copy)]
struct PackedItem<'a> {
    flags: u8,
    amount: u128,
    hold_ms: u64,
    key: &'a [u8],
    from: &'a [u8],
    to: &'a [u8],
    memo: &'a [u8],
    metadata: &'a [u8],
}

impl<'a> PackedItem<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (fixed, rest) = bytes.split_first_chunk::<ITEM_BYTES>()?;
        let &[key, from, to, flags, memo0, memo1, metadata0, metadata1, ref numbers @ ..] = fixed;
        let (amount, hold_ms) = numbers.split_first_chunk::<16>()?;
        let (key, rest) = rest.split_at_checked(key.into())?;
        let (from, rest) = rest.split_at_checked(from.into())?;
        let (to, rest) = rest.split_at_checked(to.into())?;
        let (memo, rest) = rest.split_at_checked(u16::from_le_bytes([memo0, memo1]).into())?;
        let (metadata, rest) = rest.split_at_checked(u16::from_le_bytes([metadata0, metadata1]).into())?;
        let item = Self {
            flags,
            amount: u128::from_le_bytes(*amount),
            hold_ms: u64::from_le_bytes(*hold_ms.first_chunk()?),
            key,
            from,
            to,
            memo,
            metadata,
        };
        Some((item, rest))
    }

    fn push(&self, batch: &mut BatchEncoder) -> Result<(), Problem> {
        let key = check_key(text("key", self.key)?)
            .map_err(|error| Problem::field(Code::IdempotencyKeyInvalid, "key", error))?;
        let metadata = match text("metadata", self.metadata)? {
            "" => String::new(),
            json => canonical_metadata(json)?,
        };
        let has_hold = self.flags & FLAG_HOLD != 0;
        let order = Order {
            from: checked_id("from", text("from", self.from)?)?,
            to: checked_id("to", text("to", self.to)?)?,
            amount: check_amount("amount", self.amount)?,
            hold_ms: has_hold.then(|| check_hold(self.hold_ms)).transpose()?,
            memo: checked_memo(text("memo", self.memo)?)?,
            metadata: &metadata,
        };
        batch.push(key, &order);
        Ok(())
    }
}

fn text<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    std::str::from_utf8(bytes).map_err(|_| Problem::field(Code::InvalidRequest, field, "is not UTF-8"))
}

/// Packs a frame: the client's half.
#[derive(Clone, Debug)]
pub struct FrameEncoder {
    count: u16,
    packed: Vec<u8>,
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self { count: 0, packed: vec![VERSION, 0, 0, 0] }
    }
}

impl FrameEncoder {
    /// Adds an item; `false` where the frame is full or a text is too long for its length's place, and then nothing was
    /// added.
    #[must_use]
    pub fn push(&mut self, key: &str, order: &Order<'_>) -> bool {
        let short = |text: &str| u8::try_from(text.len()).ok();
        let long = |text: &str| u16::try_from(text.len()).ok();
        let lengths = (short(key), short(order.from), short(order.to), long(order.memo), long(order.metadata));
        let (Some(key_bytes), Some(from_bytes), Some(to_bytes), Some(memo_bytes), Some(metadata_bytes)) = lengths
        else {
            return false;
        };
        if usize::from(self.count) == BATCH_ITEMS_MAX {
            return false;
        }
        let flags = if order.hold_ms.is_some() { FLAG_HOLD } else { 0 };
        self.packed.extend_from_slice(&[key_bytes, from_bytes, to_bytes, flags]);
        self.packed.extend_from_slice(&memo_bytes.to_le_bytes());
        self.packed.extend_from_slice(&metadata_bytes.to_le_bytes());
        self.packed.extend_from_slice(&order.amount.units().to_le_bytes());
        self.packed.extend_from_slice(&order.hold_ms.unwrap_or(0).to_le_bytes());
        for text in [key, order.from, order.to, order.memo, order.metadata] {
            self.packed.extend_from_slice(text.as_bytes());
        }
        self.count += 1;
        true
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.count.into()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The frame; the encoder is empty again.
    pub fn finish(&mut self) -> Vec<u8> {
        self.packed[2..HEAD_BYTES].copy_from_slice(&self.count.to_le_bytes());
        std::mem::take(self).packed
    }
}

/// The answer to one item of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameAnswer {
    /// What became of it.
    pub outcome: Outcome,
    /// Why; absent if it is committed.
    pub code: Option<Code>,
    /// As over HTTP.
    pub status: u16,
    /// Decided earlier.
    pub replayed: bool,
    /// The transfer and the balances after it; absent unless committed.
    pub transfer: Option<FrameTransfer>,
}

/// What a committed item of a frame made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameTransfer {
    /// The transfer.
    pub id: TransferId,
    /// The balance of the account it was taken from, afterwards.
    pub from_balance_after: i128,
    /// The balance of the account it went to, afterwards.
    pub to_balance_after: i128,
}

impl FrameAnswer {
    /// A refusal, or the answer that nobody knows.
    pub const fn of_code(code: Code, replayed: bool) -> Self {
        Self { outcome: code.outcome(), code: Some(code), status: code.status(), replayed, transfer: None }
    }

    /// What the machine decided.
    pub fn of_verdict(verdict: &ItemVerdict<'_>, replayed: bool) -> Self {
        match verdict {
            ItemVerdict::Decided(record) => match record.body {
                Body::Moved(ref moved) => Self::of_moved(moved, replayed),
                Body::Refused(refusal) => Self::of_code(refusal.code.into(), replayed),
                Body::Barred => Self::of_code(Code::OperationBarred, replayed),
                // An item is a transfer: its key can lead to no other kind of record.
                _ => Self::of_code(Code::Internal, replayed),
            },
            ItemVerdict::Refused(refusal) => Self::of_code(refusal.code.into(), replayed),
            ItemVerdict::Problem(problem) => Self::of_code(problem.code, replayed),
        }
    }

    fn of_moved(moved: &Moved<'_>, replayed: bool) -> Self {
        let transfer = FrameTransfer {
            id: moved.transfer,
            from_balance_after: moved.from_after.balance,
            to_balance_after: moved.to_after.balance,
        };
        Self { outcome: Outcome::Committed, code: None, status: status_of(moved), replayed, transfer: Some(transfer) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[outcome_number(self.outcome), self.code.map_or(0, Code::number)]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[self.replayed.into(), 0, 0, 0]);
        match &self.transfer {
            Some(transfer) => {
                out.extend_from_slice(&transfer.id.to_bytes());
                out.extend_from_slice(&transfer.from_balance_after.to_le_bytes());
                out.extend_from_slice(&transfer.to_balance_after.to_le_bytes());
            }
            None => out.extend_from_slice(&[0; 48]),
        }
    }

    fn decode(bytes: &[u8; ANSWER_BYTES]) -> Option<Self> {
        let &[outcome, code, status0, status1, replayed, 0, 0, 0, ref rest @ ..] = bytes else { return None };
        let outcome = [Outcome::Committed, Outcome::Refused, Outcome::Uncertain]
            .into_iter()
            .find(|known| outcome_number(*known) == outcome)?;
        let replayed = match replayed {
            0 => false,
            1 => true,
            _ => return None,
        };
        let status = u16::from_le_bytes([status0, status1]);
        if outcome != Outcome::Committed {
            let code = Code::from_number(code)?;
            let is_whole = code.outcome() == outcome && code.status() == status && *rest == [0; 48];
            return is_whole.then_some(Self::of_code(code, replayed));
        }
        let (id, balances) = rest.split_first_chunk::<16>()?;
        let (from, to) = balances.split_first_chunk::<16>()?;
        let transfer = FrameTransfer {
            id: TransferId::from_bytes(*id).ok()?,
            from_balance_after: i128::from_le_bytes(*from),
            to_balance_after: i128::from_le_bytes(*to.first_chunk()?),
        };
        (code == 0).then_some(Self { outcome, code: None, status, replayed, transfer: Some(transfer) })
    }
}

/// Packs the answers to a frame: `decided` are those of its items that were not refused by [`decode_frame`], in order,
/// each with whether it was decided earlier. Items that nobody decided are `internal`.
pub fn encode_answers<'a>(received: &Received, decided: impl IntoIterator<Item = (ItemVerdict<'a>, bool)>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEAD_BYTES + received.count * ANSWER_BYTES);
    packed.extend_from_slice(&[VERSION, 0]);
    packed.extend_from_slice(&(received.count as u16).to_le_bytes());
    let mut refused = received.refused.iter().copied().peekable();
    let mut decided = decided.into_iter();
    for at in 0..received.count {
        let answer = match refused.next_if(|(item, _)| *item == at) {
            Some((_, code)) => FrameAnswer::of_code(code, false),
            None => decided.next().map_or(FrameAnswer::of_code(Code::Internal, false), |(verdict, replayed)| {
                FrameAnswer::of_verdict(&verdict, replayed)
            }),
        };
        answer.encode(&mut packed);
    }
    packed
}

/// Unpacks the answers to a frame: the client's half.
///
/// # Errors
/// `invalid-request` where it does not have the form.
pub fn decode_answers(packed: &[u8]) -> Result<Vec<FrameAnswer>, Problem> {
    let (&[version, reserved, count0, count1], rest) =
        packed.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| malformed("ends too early"))?;
    let count = usize::from(u16::from_le_bytes([count0, count1]));
    let (answers, left) = rest.as_chunks::<ANSWER_BYTES>();
    if version != VERSION || reserved != 0 || answers.len() != count || !left.is_empty() {
        return Err(malformed("is of another form"));
    }
    answers.iter().map(FrameAnswer::decode).collect::<Option<_>>().ok_or_else(|| malformed("holds an unknown answer"))
}

const fn outcome_number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Committed => 1,
        Outcome::Refused => 2,
        Outcome::Uncertain => 3,
    }
}

#[cfg(test)]
mod tests;
