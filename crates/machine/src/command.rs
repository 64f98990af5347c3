//! What an entry asks the machine to do, in the bytes the log keeps.
//!
//! ```text
//! entry    = version:u8  stamp:u64le  count:leb128  { length:leb128 command }*count
//! command  = expires:u64le  waited:u32le  principal:text  key:text  op
//! op       = kind:u8  fields of the kind
//! ```
//!
//! An entry without commands is a tick: time passes and timers fire. `op` is canonical: two requests mean the same if and
//! only if these bytes are equal, and a [`Fingerprint`] is taken over them. Encodings are only ever added, never changed:
//! a key decided by an older build must still recognise its request.

use words::{Amount, Fingerprint, Stamp, TransferId};

use crate::call::{CallOrder, Resolved, Tried};
use crate::codec::{Corrupt, Reader, put_bytes, put_i128, put_u64, put_u128};
use crate::lease::LeaseOp;
use crate::saga::SagaOp;
use crate::topic::TopicOp;

/// The version of the entry format.
pub const ENTRY_VERSION: u8 = 1;

/// The most items a batch may have.
pub const BATCH_ITEMS_MAX: usize = 8_192;

/// One intended effect, named by its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// An entry stamped after this refuses the command.
    pub expires: Stamp,
    /// How long it waited here before the entry was stamped, in microseconds; [`u32::MAX`] for more than 71 minutes.
    pub waited_us: u32,
    /// Whose key it is; empty where the server asks nobody who they are, and for the system's own commands.
    pub principal: &'a str,
    /// The idempotency key; empty for [`Op::Claim`], [`Op::HandOver`], [`Op::Configure`], [`Op::Tried`], [`SagaOp::Step`] and batches in
    /// [`BatchMode::Stream`].
    pub key: &'a str,
    /// The effect.
    pub op: Op<'a>,
    /// The canonical bytes of `op`.
    pub op_bytes: &'a [u8],
}

/// The effects there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// A new leader fences all older epochs.
    Claim {
        /// The new epoch.
        epoch: u64,
        /// Who leads.
        node: &'a str,
        /// The same process led before, and nobody since: what it had begun outside goes on.
        continues: bool,
    },
    /// The leader appends nothing after this, and asks a node to claim at once. It decides nothing: who leads is said by a claim.
    HandOver {
        /// Who is asked.
        to: &'a str,
    },
    /// Settings that decide outcomes, and so must be the same for every replica.
    Configure {
        /// How long decided keys are kept.
        key_retention_ms: u64,
    },
    /// Opens an account.
    OpenAccount(OpenAccount<'a>),
    /// Moves money, or sets it aside.
    Transfer(Order<'a>),
    /// Posts a held transfer.
    Capture {
        /// Which.
        transfer: TransferId,
        /// How much of it; all if absent.
        amount: Option<Amount>,
    },
    /// Releases a held transfer.
    Void {
        /// Which.
        transfer: TransferId,
    },
    /// Moves a posted transfer's money back.
    Reverse {
        /// Which.
        transfer: TransferId,
        /// How much of it; all that is left if absent.
        amount: Option<Amount>,
    },
    /// Many transfers, each with its own key.
    Batch {
        /// How they belong together.
        mode: BatchMode,
        /// The transfers.
        items: Items<'a>,
    },
    /// Makes the command's key definite: what was decided stays, what was not is barred.
    Settle,
    /// Has a stranger called, until that has a definite end.
    Call(CallOrder<'a>),
    /// What came of an attempt at a call. The outbox's own, under no key.
    Tried(Tried<'a>),
    /// A person says what became of an uncertain call.
    Resolve(Resolved<'a>),
    /// What is asked of topics and subscriptions.
    Topic(TopicOp<'a>),
    /// About sagas and their runs.
    Saga(SagaOp<'a>),
    /// What is asked of leases.
    Lease(LeaseOp<'a>),
}

/// `POST /v1/accounts`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenAccount<'a> {
    /// The account's id.
    pub id: &'a str,
    /// What it counts: an id, like `GBP` or `seat`.
    pub unit: &'a str,
    /// The lowest `available` a transfer may leave; `None` = no floor.
    pub floor: Option<i128>,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
}

/// `POST /v1/transfers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order<'a> {
    /// The account it is taken from.
    pub from: &'a str,
    /// The account it goes to.
    pub to: &'a str,
    /// How much.
    pub amount: Amount,
    /// For how long to set it aside; `None` = post at once.
    pub hold_ms: Option<u64>,
    /// A person's note, or empty.
    pub memo: &'a str,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
}

/// How the items of a batch belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchMode {
    /// Each item is decided for itself; the batch's key remembers which items it named.
    Each,
    /// All or none.
    Atomic,
    /// Each item is decided for itself; there is no batch key and nothing is remembered of the grouping.
    Stream,
}

/// The items of a batch, still encoded: `{ length:leb128 key:text order }*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Items<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// One item of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// Its own idempotency key.
    pub key: &'a str,
    /// The transfer.
    pub order: Order<'a>,
    /// The bytes [`Op::Transfer`] of the same order would have, so that item and single request are the same request.
    pub op_bytes: &'a [u8],
}

mod kind {
    pub(super) const CLAIM: u8 = 1;
    pub(super) const CONFIGURE: u8 = 2;
    pub(super) const OPEN_ACCOUNT: u8 = 3;
    pub(super) const TRANSFER: u8 = 4;
    pub(super) const CAPTURE: u8 = 5;
    pub(super) const VOID: u8 = 6;
    pub(super) const REVERSE: u8 = 7;
    pub(super) const BATCH: u8 = 8;
    pub(super) const SETTLE: u8 = 9;
    pub(super) const CALL: u8 = 10;
    pub(super) const TRIED: u8 = 11;
    pub(super) const RESOLVE: u8 = 12;
    pub(super) const CLAIM_ON: u8 = 13;
    pub(super) const HAND_OVER: u8 = 14;
    pub(super) const TOPIC: u8 = 32;
    pub(super) const SAGA: u8 = 20;
    pub(super) const LEASE: u8 = 24;
}

impl<'a> Command<'a> {
    /// The identity of what is asked.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.op_bytes)
    }

    /// Reads one command, all of `bytes`.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut r = Reader::new(bytes);
        let expires = Stamp::from_raw(r.u64_fixed()?);
        let waited_us = u32::from_le_bytes(r.array()?);
        let (principal, key) = (r.str()?, r.str()?);
        let op_bytes = r.rest();
        let op = Op::decode(&mut r)?;
        if !r.is_empty() {
            return Err(Corrupt("bytes after the command"));
        }
        Ok(Self { expires, waited_us, principal, key, op, op_bytes })
    }
}

/// Appends a command up to its op, which the caller appends next (see [`Op::encode`] and [`BatchEncoder`]).
pub fn encode_head(out: &mut Vec<u8>, expires: Stamp, principal: &str, key: &str) {
    out.extend_from_slice(&expires.raw().to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    put_bytes(out, principal.as_bytes());
    put_bytes(out, key.as_bytes());
}

/// Sets the deadline of an encoded command, and how long it waited: the edge encodes, the cell knows the clock.
pub fn set_times(command: &mut [u8], expires: Stamp, waited_us: u32) {
    command[..8].copy_from_slice(&expires.raw().to_le_bytes());
    command[8..12].copy_from_slice(&waited_us.to_le_bytes());
}

impl<'a> Op<'a> {
    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Claim { epoch, node, continues } => {
                out.push(if continues { kind::CLAIM_ON } else { kind::CLAIM });
                put_u64(out, epoch);
                put_bytes(out, node.as_bytes());
            }
            Self::HandOver { to } => {
                out.push(kind::HAND_OVER);
                put_bytes(out, to.as_bytes());
            }
            Self::Configure { key_retention_ms } => {
                out.push(kind::CONFIGURE);
                put_u64(out, key_retention_ms);
            }
            Self::OpenAccount(OpenAccount { id, unit, floor, metadata }) => {
                out.push(kind::OPEN_ACCOUNT);
                put_bytes(out, id.as_bytes());
                put_bytes(out, unit.as_bytes());
                out.push(u8::from(floor.is_some()));
                if let Some(floor) = floor {
                    put_i128(out, floor);
                }
                put_bytes(out, metadata.as_bytes());
            }
            Self::Transfer(order) => order.encode(out),
            Self::Capture { transfer, amount } => encode_followup(out, kind::CAPTURE, transfer, amount),
            Self::Reverse { transfer, amount } => encode_followup(out, kind::REVERSE, transfer, amount),
            Self::Void { transfer } => {
                out.push(kind::VOID);
                out.extend_from_slice(&transfer.to_bytes());
            }
            Self::Batch { mode, items } => {
                out.push(kind::BATCH);
                out.push(mode.code());
                put_u64(out, items.count as u64);
                out.extend_from_slice(items.bytes);
            }
            Self::Settle => out.push(kind::SETTLE),
            Self::Call(ref order) => {
                out.push(kind::CALL);
                order.encode(out);
            }
            Self::Tried(ref tried) => {
                out.push(kind::TRIED);
                tried.encode(out);
            }
            Self::Resolve(ref resolved) => {
                out.push(kind::RESOLVE);
                resolved.encode(out);
            }
            Self::Topic(ref asked) => {
                out.push(kind::TOPIC);
                asked.encode(out);
            }
            Self::Saga(ref op) => {
                out.push(kind::SAGA);
                op.encode(out);
            }
            Self::Lease(ref op) => {
                out.push(kind::LEASE);
                op.encode(out);
            }
        }
    }

    /// Whether these are the bytes of what a step of a run can do.
    pub(crate) fn can_be_step(bytes: &[u8]) -> bool {
        let kinds = [kind::TRANSFER, kind::CAPTURE, kind::VOID, kind::REVERSE, kind::CALL];
        bytes.first().is_some_and(|first| kinds.contains(first))
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            claim @ (kind::CLAIM | kind::CLAIM_ON) => {
                Self::Claim { epoch: r.u64()?, node: r.str()?, continues: claim == kind::CLAIM_ON }
            }
            kind::HAND_OVER => Self::HandOver { to: r.str()? },
            kind::CONFIGURE => Self::Configure { key_retention_ms: r.u64()? },
            kind::OPEN_ACCOUNT => Self::OpenAccount(OpenAccount {
                id: r.str()?,
                unit: r.str()?,
                floor: if r.flag()? { Some(r.i128()?) } else { None },
                metadata: r.str()?,
            }),
            kind::TRANSFER => Self::Transfer(Order::decode_fields(r)?),
            kind::CAPTURE => Self::Capture { transfer: decode_transfer_id(r)?, amount: decode_option_amount(r)? },
            kind::REVERSE => Self::Reverse { transfer: decode_transfer_id(r)?, amount: decode_option_amount(r)? },
            kind::VOID => Self::Void { transfer: decode_transfer_id(r)? },
            kind::BATCH => {
                let mode = BatchMode::from_code(r.u8()?)?;
                let count = usize::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?;
                if count > BATCH_ITEMS_MAX {
                    return Err(Corrupt("a batch has too many items"));
                }
                let start = r.rest();
                for _ in 0..count {
                    r.bytes()?;
                }
                let bytes = &start[..start.len() - r.rest().len()];
                Self::Batch { mode, items: Items { count, bytes } }
            }
            kind::SETTLE => Self::Settle,
            kind::CALL => Self::Call(CallOrder::decode(r)?),
            kind::TRIED => Self::Tried(Tried::decode(r)?),
            kind::RESOLVE => Self::Resolve(Resolved::decode(r)?),
            kind::TOPIC => Self::Topic(TopicOp::decode(r)?),
            kind::SAGA => Self::Saga(SagaOp::decode(r)?),
            kind::LEASE => Self::Lease(LeaseOp::decode(r)?),
            _ => return Err(Corrupt("an unknown kind of command")),
        })
    }
}

impl<'a> Order<'a> {
    /// Appends the bytes of [`Op::Transfer`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::TRANSFER);
        put_bytes(out, self.from.as_bytes());
        put_bytes(out, self.to.as_bytes());
        put_u128(out, self.amount.units());
        out.push(u8::from(self.hold_ms.is_some()));
        if let Some(hold_ms) = self.hold_ms {
            put_u64(out, hold_ms);
        }
        put_bytes(out, self.memo.as_bytes());
        put_bytes(out, self.metadata.as_bytes());
    }

    fn decode_fields(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            from: r.str()?,
            to: r.str()?,
            amount: decode_amount(r)?,
            hold_ms: r.option_u64()?,
            memo: r.str()?,
            metadata: r.str()?,
        })
    }
}

/// Builds the op of a batch item by item, so that nobody has to keep the items twice.
#[derive(Debug)]
pub struct BatchEncoder {
    count: usize,
    items: Vec<u8>,
    scratch: Vec<u8>,
}

impl BatchEncoder {
    /// An empty batch with room for `items_hint` items.
    pub fn new(items_hint: usize) -> Self {
        Self { count: 0, items: Vec::with_capacity(items_hint.min(BATCH_ITEMS_MAX) * 80), scratch: Vec::new() }
    }

    /// Adds an item.
    pub fn push(&mut self, key: &str, order: &Order<'_>) {
        self.scratch.clear();
        put_bytes(&mut self.scratch, key.as_bytes());
        order.encode(&mut self.scratch);
        put_bytes(&mut self.items, &self.scratch);
        self.count += 1;
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the bytes of [`Op::Batch`].
    pub fn finish(&self, mode: BatchMode, out: &mut Vec<u8>) {
        Op::Batch { mode, items: Items { count: self.count, bytes: &self.items } }.encode(out);
    }
}

impl<'a> Items<'a> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = Result<Item<'a>, Corrupt>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        (0..self.count).map(move |_| Item::decode(r.bytes()?))
    }
}

impl<'a> Item<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut r = Reader::new(bytes);
        let key = r.str()?;
        let op_bytes = r.rest();
        if r.u8()? != kind::TRANSFER {
            return Err(Corrupt("an item of a batch is a transfer"));
        }
        let order = Order::decode_fields(&mut r)?;
        if !r.is_empty() {
            return Err(Corrupt("bytes after the item"));
        }
        Ok(Self { key, order, op_bytes })
    }
}

impl BatchMode {
    const fn code(self) -> u8 {
        match self {
            Self::Each => 0,
            Self::Atomic => 1,
            Self::Stream => 2,
        }
    }

    const fn from_code(code: u8) -> Result<Self, Corrupt> {
        match code {
            0 => Ok(Self::Each),
            1 => Ok(Self::Atomic),
            2 => Ok(Self::Stream),
            _ => Err(Corrupt("an unknown batch mode")),
        }
    }
}

fn encode_followup(out: &mut Vec<u8>, kind: u8, transfer: TransferId, amount: Option<Amount>) {
    out.push(kind);
    out.extend_from_slice(&transfer.to_bytes());
    // Zero is no amount, and so stands for "all".
    put_u128(out, amount.map_or(0, Amount::units));
}

fn decode_transfer_id(r: &mut Reader<'_>) -> Result<TransferId, Corrupt> {
    TransferId::from_bytes(r.array()?).map_err(|_| Corrupt("not a transfer id"))
}

fn decode_amount(r: &mut Reader<'_>) -> Result<Amount, Corrupt> {
    Amount::new(r.u128()?).map_err(|_| Corrupt("not an amount"))
}

fn decode_option_amount(r: &mut Reader<'_>) -> Result<Option<Amount>, Corrupt> {
    match r.u128()? {
        0 => Ok(None),
        units => Amount::new(units).map(Some).map_err(|_| Corrupt("not an amount")),
    }
}

/// Writes an entry command by command.
#[derive(Debug, Default)]
pub struct EntryEncoder {
    count: u64,
    commands: Vec<u8>,
}

impl EntryEncoder {
    /// Adds an encoded command.
    pub fn push(&mut self, command: &[u8]) {
        put_bytes(&mut self.commands, command);
        self.count += 1;
    }

    /// How many commands there are.
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none: a tick.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Roughly how many bytes the entry will have.
    pub fn bytes(&self) -> usize {
        self.commands.len() + 20
    }

    /// The entry's bytes, stamped; the encoder is empty again.
    pub fn finish(&mut self, stamp: Stamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.push(ENTRY_VERSION);
        out.extend_from_slice(&stamp.raw().to_le_bytes());
        put_u64(&mut out, self.count);
        out.extend_from_slice(&self.commands);
        self.count = 0;
        self.commands.clear();
        out
    }
}

/// An entry, decoded as far as its stamp.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it was appended, on the cell's clock.
    pub stamp: Stamp,
    count: u64,
    commands: Reader<'a>,
}

impl<'a> Entry<'a> {
    /// Reads the head of an entry.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut r = Reader::new(bytes);
        if r.u8()? != ENTRY_VERSION {
            return Err(Corrupt("an entry of another version"));
        }
        let stamp = Stamp::from_raw(r.u64_fixed()?);
        Ok(Self { stamp, count: r.u64()?, commands: r })
    }

    /// How many commands it has.
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether it has none: a tick.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each command in turn; the last item is an error if bytes are left over.
    pub fn commands(&self) -> impl Iterator<Item = Result<Command<'a>, Corrupt>> + use<'a> {
        let mut r = self.commands;
        let tail = std::iter::once(()).map(|()| None);
        (0..self.count)
            .map(|_| Some(()))
            .chain(tail)
            .filter_map(move |more| match more {
                Some(()) => Some(r.bytes().and_then(Command::decode)),
                None if r.is_empty() => None,
                None => Some(Err(Corrupt("bytes after the entry"))),
            })
            .take(usize::try_from(self.count).unwrap_or(usize::MAX).saturating_add(1))
    }
}
