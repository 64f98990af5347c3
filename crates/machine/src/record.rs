//! What the archive keeps: one record for each decision, complete enough to give the first answer again, byte for byte.
//!
//! ```text
//! record = version:u8  kind:u8  epoch:leb128  index:leb128  stamp:u64le  principal:text  key:text
//!          fingerprint:16  waited:leb128  body
//! ```

mod call;

use words::{Fingerprint, Position, Stamp, TransferId};

use crate::codec::{Corrupt, Reader, put_bytes, put_i128, put_option_u64, put_u64, put_u128};
use crate::lease::LeaseRecord;
use crate::refusal::{Code, Refusal};
use crate::saga::SagaRecord;
use crate::topic::TopicRecord;

pub use call::{CallAccepted, CallEnd, CallEnded, CallTried};

/// The version of the record format.
pub const RECORD_VERSION: u8 = 1;

/// One decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The entry that decided it.
    pub position: Position,
    /// That entry's stamp.
    pub stamp: Stamp,
    /// Whose key; empty where there is none.
    pub principal: &'a str,
    /// The idempotency key; empty for what happens by itself (an expiry, a claim).
    pub key: &'a str,
    /// Of the request; zeros where there is none.
    pub fingerprint: Fingerprint,
    /// How long the request waited before the entry was stamped, in microseconds: it came in at `stamp` less this.
    pub waited_us: u32,
    /// What was decided.
    pub body: Body<'a>,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// A leader claimed its epoch.
    Claimed {
        /// Who.
        node: &'a str,
    },
    /// Settings changed.
    Configured {
        /// The retention of keys from here on.
        key_retention_ms: u64,
    },
    /// An account was opened.
    Opened(Opened<'a>),
    /// A transfer was made or changed its state.
    Moved(Moved<'a>),
    /// The operation was refused, and that is remembered.
    Refused(Refusal<'a>),
    /// A batch was decided item by item.
    Batch {
        /// The ordinals of the items' records, in the order of the items: `{ first:leb128 count:leb128 }*`.
        items: Runs<'a>,
        /// Whether it was all or none.
        atomic: bool,
        /// The items that have no record of their own, because their refusal is not remembered under their key
        /// (reused, barred, expired). `items` skips them: see [`batch_items`].
        exceptions: Exceptions<'a>,
    },
    /// An atomic batch was refused.
    BatchRefused {
        /// Which item refused it, from 0.
        item: u64,
        /// That item's key.
        item_key: &'a str,
        /// Why.
        refusal: Refusal<'a>,
    },
    /// The key was settled before its operation came, which now never will.
    Barred,
    /// A durable call was accepted: pending until its end stands under the same key.
    CallAccepted(CallAccepted<'a>),
    /// An attempt at a call did not end it.
    CallTried(CallTried<'a>),
    /// A call came to its end.
    CallEnded(CallEnded<'a>),
    /// About sagas and their runs.
    Saga(SagaRecord<'a>),
    /// A person said what became of a call.
    Resolved {
        /// The call.
        call: u64,
        /// The record of its end.
        ended: u64,
        /// Whether it was done.
        committed: bool,
    },
    /// An event, or what became of a topic or a subscription.
    Topic(TopicRecord<'a>),
    /// About a lease.
    Lease(LeaseRecord<'a>),
}

/// An account as it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Its floor.
    pub floor: Option<i128>,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
}

/// What happened to a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Event {
    /// Made and posted at once.
    Posted = 1,
    /// Made and held.
    Held = 2,
    /// Its hold was captured, in whole or in part.
    Captured = 3,
    /// Its hold was voided.
    Voided = 4,
    /// Its hold expired.
    Expired = 5,
    /// Made as the reversal of another.
    Reversal = 6,
}

/// A transfer as an event left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved<'a> {
    /// What happened.
    pub event: Event,
    /// Which transfer.
    pub transfer: TransferId,
    /// When the transfer was made.
    pub created: Stamp,
    /// Taken from this account.
    pub from: &'a str,
    /// To that one.
    pub to: &'a str,
    /// Counted in this unit.
    pub unit: &'a str,
    /// How much: what was posted, or is or was held.
    pub amount: u128,
    /// Until when it is or was held.
    pub hold_until: Option<Stamp>,
    /// The transfer this one moves back.
    pub reverses: Option<TransferId>,
    /// Of the reversed transfer, with this one: how much was moved back in all. 0 for other events.
    pub reversed_total: u128,
    /// A person's note, or empty.
    pub memo: &'a str,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
    /// The account it is taken from, afterwards.
    pub from_after: After,
    /// The account it goes to, afterwards.
    pub to_after: After,
}

/// An account as a record left it.
///
/// Every account's history is a chain of records that ends at its opening, linked by `previous`. A record stands in the
/// chain of an account only if it changed it: [`Event::Posted`], [`Event::Captured`] and [`Event::Reversal`] change both
/// accounts; [`Event::Held`], [`Event::Voided`] and [`Event::Expired`] change only `from` (its `held`), and there
/// `to_after` is the other account as it stood, with `previous` = the newest record of its chain. See [`chain_link`].
///
/// [`chain_link`]: crate::chain_link
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct After {
    /// What was moved to it less what was moved from it.
    pub balance: i128,
    /// The sum of open holds from it.
    pub held: i128,
    /// How many records changed it, the opening included.
    pub version: u64,
    /// The ordinal of the record that changed it before this one.
    pub previous: u64,
}

/// Ordinals, consecutive ones folded together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runs<'a> {
    bytes: &'a [u8],
}

/// The refusals of batch items that have no record: `{ item:leb128 refusal }*`, in the order of the items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exceptions<'a> {
    bytes: &'a [u8],
}

/// Where the answer to one item of a batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchItem<'a> {
    /// In the record under this ordinal.
    Recorded(u64),
    /// Here: it is kept with the batch only. `about` is the item's key.
    Refused(Refusal<'a>),
}

mod kind {
    pub(super) const CLAIMED: u8 = 1;
    pub(super) const CONFIGURED: u8 = 2;
    pub(super) const OPENED: u8 = 3;
    pub(super) const MOVED: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    pub(super) const BATCH: u8 = 6;
    pub(super) const BATCH_REFUSED: u8 = 7;
    pub(super) const BARRED: u8 = 8;
    pub(super) const CALL_ACCEPTED: u8 = 9;
    pub(super) const CALL_TRIED: u8 = 10;
    pub(super) const CALL_ENDED: u8 = 11;
    pub(super) const RESOLVED: u8 = 12;
    pub(super) const TOPIC: u8 = 32;
    pub(super) const SAGA: u8 = 20;
    pub(super) const LEASE: u8 = 24;
}

impl<'a> Record<'a> {
    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(RECORD_VERSION);
        out.push(self.body.kind());
        put_u64(out, self.position.epoch);
        put_u64(out, self.position.index);
        out.extend_from_slice(&self.stamp.raw().to_le_bytes());
        put_bytes(out, self.principal.as_bytes());
        put_bytes(out, self.key.as_bytes());
        out.extend_from_slice(self.fingerprint.as_bytes());
        put_u64(out, u64::from(self.waited_us));
        self.body.encode(out);
    }

    /// Reads a record, all of `bytes`.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut r = Reader::new(bytes);
        let (kind, position, stamp) = decode_head(&mut r)?;
        let (principal, key) = (r.str()?, r.str()?);
        let fingerprint = Fingerprint::from_bytes(r.array()?);
        let waited_us = u32::try_from(r.u64()?).map_err(|_| Corrupt("a wait does not fit"))?;
        let body = Body::decode(kind, &mut r)?;
        if !r.is_empty() {
            return Err(Corrupt("bytes after the record"));
        }
        Ok(Self { position, stamp, principal, key, fingerprint, waited_us, body })
    }

    /// Whether the record was decided under this key: the question asked of every candidate, and so without decoding
    /// more than needed.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn is_of(bytes: &[u8], principal: &str, key: &str) -> Result<bool, Corrupt> {
        Ok(Decision::of(bytes, principal, key)?.is_some())
    }
}

/// What a later request under the same key must know of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Decision {
    pub(crate) stamp: Stamp,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_barred: bool,
    /// Accepted and not ended, if no newer record stands under the key.
    pub(crate) is_pending: bool,
}

impl Decision {
    /// The decision in a record's bytes, if it was made under this key.
    pub(crate) fn of(bytes: &[u8], principal: &str, key: &str) -> Result<Option<Self>, Corrupt> {
        let mut r = Reader::new(bytes);
        let (kind, _, stamp) = decode_head(&mut r)?;
        if r.bytes()? != principal.as_bytes() || r.bytes()? != key.as_bytes() {
            return Ok(None);
        }
        let fingerprint = Fingerprint::from_bytes(r.array()?);
        let is_pending = match kind {
            kind::CALL_ACCEPTED => true,
            kind::SAGA => {
                r.u64()?;
                SagaRecord::is_pending_kind(r.u8()?)
            }
            kind::LEASE => {
                r.u64()?;
                LeaseRecord::is_pending_kind(r.u8()?)
            }
            _ => false,
        };
        Ok(Some(Self { stamp, fingerprint, is_barred: kind == kind::BARRED, is_pending }))
    }
}

fn decode_head(r: &mut Reader<'_>) -> Result<(u8, Position, Stamp), Corrupt> {
    if r.u8()? != RECORD_VERSION {
        return Err(Corrupt("a record of another version"));
    }
    let kind = r.u8()?;
    let position = Position { epoch: r.u64()?, index: r.u64()? };
    Ok((kind, position, Stamp::from_raw(r.u64_fixed()?)))
}

impl<'a> Body<'a> {
    /// Whether what was asked for is accepted, and its end still to come under the same key.
    pub const fn is_pending(&self) -> bool {
        match self {
            Self::CallAccepted(_) => true,
            Self::Saga(saga) => saga.is_pending(),
            Self::Lease(lease) => lease.is_pending(),
            _ => false,
        }
    }

    /// The record under which what is pending was accepted first, which its end names; this one is `ordinal`. `None` if it
    /// is not pending.
    pub const fn pending_since(&self, ordinal: u64) -> Option<u64> {
        match self {
            Self::Saga(SagaRecord::Restarted { run, .. }) => Some(*run),
            _ if self.is_pending() => Some(ordinal),
            _ => None,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Claimed { .. } => kind::CLAIMED,
            Self::Configured { .. } => kind::CONFIGURED,
            Self::Opened(_) => kind::OPENED,
            Self::Moved(_) => kind::MOVED,
            Self::Refused(_) => kind::REFUSED,
            Self::Batch { .. } => kind::BATCH,
            Self::BatchRefused { .. } => kind::BATCH_REFUSED,
            Self::Barred => kind::BARRED,
            Self::CallAccepted(_) => kind::CALL_ACCEPTED,
            Self::CallTried(_) => kind::CALL_TRIED,
            Self::CallEnded(_) => kind::CALL_ENDED,
            Self::Saga(_) => kind::SAGA,
            Self::Resolved { .. } => kind::RESOLVED,
            Self::Topic(_) => kind::TOPIC,
            Self::Lease(_) => kind::LEASE,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Claimed { node } => put_bytes(out, node.as_bytes()),
            Self::Configured { key_retention_ms } => put_u64(out, key_retention_ms),
            Self::Opened(Opened { id, unit, floor, metadata }) => {
                put_bytes(out, id.as_bytes());
                put_bytes(out, unit.as_bytes());
                out.push(u8::from(floor.is_some()));
                if let Some(floor) = floor {
                    put_i128(out, floor);
                }
                put_bytes(out, metadata.as_bytes());
            }
            Self::Moved(ref moved) => moved.encode(out),
            Self::Refused(refusal) => encode_refusal(out, refusal),
            Self::Batch { items, atomic, exceptions } => {
                out.push(u8::from(atomic));
                put_bytes(out, items.bytes);
                put_bytes(out, exceptions.bytes);
            }
            Self::BatchRefused { item, item_key, refusal } => {
                put_u64(out, item);
                put_bytes(out, item_key.as_bytes());
                encode_refusal(out, refusal);
            }
            Self::Barred => {}
            Self::CallAccepted(ref accepted) => accepted.encode(out),
            Self::CallTried(ref tried) => tried.encode(out),
            Self::CallEnded(ref ended) => ended.encode(out),
            Self::Saga(ref saga) => saga.encode(out),
            Self::Resolved { call, ended, committed } => {
                put_u64(out, call);
                put_u64(out, ended);
                out.push(u8::from(committed));
            }
            Self::Topic(ref topic) => topic.encode(out),
            Self::Lease(ref lease) => lease.encode(out),
        }
    }

    fn decode(kind: u8, r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match kind {
            kind::CLAIMED => Self::Claimed { node: r.str()? },
            kind::CONFIGURED => Self::Configured { key_retention_ms: r.u64()? },
            kind::OPENED => Self::Opened(Opened {
                id: r.str()?,
                unit: r.str()?,
                floor: if r.flag()? { Some(r.i128()?) } else { None },
                metadata: r.str()?,
            }),
            kind::MOVED => Self::Moved(Moved::decode(r)?),
            kind::REFUSED => Self::Refused(decode_refusal(r)?),
            kind::BATCH => {
                let atomic = r.flag()?;
                Self::Batch { items: Runs { bytes: r.bytes()? }, atomic, exceptions: Exceptions { bytes: r.bytes()? } }
            }
            kind::BATCH_REFUSED => {
                Self::BatchRefused { item: r.u64()?, item_key: r.str()?, refusal: decode_refusal(r)? }
            }
            kind::BARRED => Self::Barred,
            kind::CALL_ACCEPTED => Self::CallAccepted(CallAccepted::decode(r)?),
            kind::CALL_TRIED => Self::CallTried(CallTried::decode(r)?),
            kind::CALL_ENDED => Self::CallEnded(CallEnded::decode(r)?),
            kind::SAGA => Self::Saga(SagaRecord::decode(r)?),
            kind::RESOLVED => Self::Resolved { call: r.u64()?, ended: r.u64()?, committed: r.flag()? },
            kind::TOPIC => Self::Topic(TopicRecord::decode(r)?),
            kind::LEASE => Self::Lease(LeaseRecord::decode(r)?),
            _ => return Err(Corrupt("an unknown kind of record")),
        })
    }
}

impl<'a> Moved<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.event as u8);
        out.extend_from_slice(&self.transfer.to_bytes());
        out.extend_from_slice(&self.created.raw().to_le_bytes());
        put_bytes(out, self.from.as_bytes());
        put_bytes(out, self.to.as_bytes());
        put_bytes(out, self.unit.as_bytes());
        put_u128(out, self.amount);
        put_option_u64(out, self.hold_until.map(Stamp::raw));
        out.push(u8::from(self.reverses.is_some()));
        if let Some(reverses) = self.reverses {
            out.extend_from_slice(&reverses.to_bytes());
            put_u128(out, self.reversed_total);
        }
        put_bytes(out, self.memo.as_bytes());
        put_bytes(out, self.metadata.as_bytes());
        self.from_after.encode(out);
        self.to_after.encode(out);
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let event = Event::from_number(r.u8()?)?;
        let transfer = decode_transfer_id(r)?;
        let created = Stamp::from_raw(r.u64_fixed()?);
        let (from, to, unit, amount) = (r.str()?, r.str()?, r.str()?, r.u128()?);
        let hold_until = r.option_u64()?.map(Stamp::from_raw);
        let (reverses, reversed_total) = if r.flag()? { (Some(decode_transfer_id(r)?), r.u128()?) } else { (None, 0) };
        Ok(Self {
            event,
            transfer,
            created,
            from,
            to,
            unit,
            amount,
            hold_until,
            reverses,
            reversed_total,
            memo: r.str()?,
            metadata: r.str()?,
            from_after: After::decode(r)?,
            to_after: After::decode(r)?,
        })
    }
}

impl After {
    fn encode(&self, out: &mut Vec<u8>) {
        put_i128(out, self.balance);
        put_i128(out, self.held);
        put_u64(out, self.version);
        put_u64(out, self.previous);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { balance: r.i128()?, held: r.i128()?, version: r.u64()?, previous: r.u64()? })
    }
}

impl Event {
    /// Whether it changes the balances of both accounts, and so stands in both histories; else only in that of `from`.
    pub const fn touches_both(self) -> bool {
        matches!(self, Self::Posted | Self::Captured | Self::Reversal)
    }

    /// Whether the record made the transfer, so that the transfer's id holds the record's ordinal.
    pub const fn makes(self) -> bool {
        matches!(self, Self::Posted | Self::Held | Self::Reversal)
    }

    fn from_number(number: u8) -> Result<Self, Corrupt> {
        [Self::Posted, Self::Held, Self::Captured, Self::Voided, Self::Expired, Self::Reversal]
            .into_iter()
            .find(|event| *event as u8 == number)
            .ok_or(Corrupt("an unknown event of a transfer"))
    }
}

impl<'a> Runs<'a> {
    /// Appends the runs of `ordinals` to `out`; give the result to [`Runs::new`].
    pub fn fold(ordinals: impl IntoIterator<Item = u64>, out: &mut Vec<u8>) {
        let mut run: Option<(u64, u64)> = None;
        for ordinal in ordinals {
            match &mut run {
                Some((first, count)) if *first + *count == ordinal => *count += 1,
                _ => {
                    if let Some((first, count)) = run.replace((ordinal, 1)) {
                        put_u64(out, first);
                        put_u64(out, count);
                    }
                }
            }
        }
        if let Some((first, count)) = run {
            put_u64(out, first);
            put_u64(out, count);
        }
    }

    /// Over bytes that [`Runs::fold`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Each run as (first ordinal, count); ends early at the first byte that is not one.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || (!r.is_empty()).then(|| Some((r.u64().ok()?, r.u64().ok()?))).flatten())
    }
}

impl<'a> Exceptions<'a> {
    /// All items have records.
    pub const NONE: Exceptions<'static> = Exceptions { bytes: &[] };

    /// Appends the refusal of item number `item` (from 0) to `out`; give the result to [`Exceptions::new`].
    pub fn push(out: &mut Vec<u8>, item: u64, refusal: Refusal<'_>) {
        put_u64(out, item);
        encode_refusal(out, refusal);
    }

    /// Over bytes that [`Exceptions::push`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether all items have records.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Each as (item, refusal); ends early at the first byte that is not one.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Refusal<'a>)> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            (!r.is_empty()).then(|| Some((r.u64().ok()?, decode_refusal(&mut r).ok()?))).flatten()
        })
    }
}

/// Where the answers to a batch's items are, in the order of the items.
pub fn batch_items<'a>(items: Runs<'a>, exceptions: Exceptions<'a>) -> impl Iterator<Item = BatchItem<'a>> + use<'a> {
    let mut ordinals = items.iter().flat_map(|(first, count)| (0..count).map(move |n| first.saturating_add(n)));
    let mut exceptions = exceptions.iter().peekable();
    (0..).map_while(move |at| match exceptions.next_if(|(item, _)| *item == at) {
        Some((_, refusal)) => Some(BatchItem::Refused(refusal)),
        None => ordinals.next().map(BatchItem::Recorded),
    })
}

fn encode_refusal(out: &mut Vec<u8>, refusal: Refusal<'_>) {
    out.push(refusal.code as u8);
    put_bytes(out, refusal.about.as_bytes());
    put_i128(out, refusal.had);
    put_i128(out, refusal.wanted);
}

fn decode_refusal<'a>(r: &mut Reader<'a>) -> Result<Refusal<'a>, Corrupt> {
    let code = Code::from_number(r.u8()?).ok_or(Corrupt("an unknown refusal"))?;
    Ok(Refusal { code, about: r.str()?, had: r.i128()?, wanted: r.i128()? })
}

pub(crate) fn decode_transfer_id(r: &mut Reader<'_>) -> Result<TransferId, Corrupt> {
    TransferId::from_bytes(r.array()?).map_err(|_| Corrupt("not a transfer id"))
}
