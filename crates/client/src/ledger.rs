//! What can be asked of the ledger, and the shapes of its answers.

use std::collections::VecDeque;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Write, operation_path};
use crate::client::Client;
use crate::outcome::{Outcome, Problem, Uncertain};
use crate::read::{Read, ReadError};
use crate::settle::Settle;
use crate::transport::segment;

/// An account to be opened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NewAccount {
    /// Its id: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`.
    pub id: String,
    /// What it counts: an id, like `GBP`.
    pub unit: String,
    /// The lowest `available` a transfer may leave; `None` = no floor.
    #[serde(with = "crate::number::signed_option")]
    pub floor: Option<i128>,
    /// Any JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// An account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// What it counts.
    pub unit: String,
    /// The lowest `available` a transfer may leave; `None` = no floor.
    #[serde(with = "crate::number::signed_option")]
    pub floor: Option<i128>,
    /// What was moved to it less what was moved from it, in the unit's smallest part.
    #[serde(with = "crate::number::signed")]
    pub balance: i128,
    /// The sum of open holds from it.
    #[serde(with = "crate::number::signed")]
    pub held: i128,
    /// `balance - held`.
    #[serde(with = "crate::number::signed")]
    pub available: i128,
    /// As given.
    #[serde(default)]
    pub metadata: Value,
    /// RFC 3339, UTC, microseconds.
    pub created_at: String,
    /// How often it was changed, the opening included.
    pub version: u64,
}

/// A transfer to be made.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NewTransfer {
    /// The account it is taken from.
    pub from: String,
    /// The account it goes to.
    pub to: String,
    /// How much, in the unit's smallest part: 1 to 2^127 - 1.
    #[serde(with = "crate::number::unsigned")]
    pub amount: u128,
    /// Set it aside for so many milliseconds instead of posting it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// A person's note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Any JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A transfer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id, a UUIDv7.
    pub id: String,
    /// The account it is taken from.
    pub from: String,
    /// The account it goes to.
    pub to: String,
    /// What it counts.
    pub unit: String,
    /// How much, in the unit's smallest part.
    #[serde(with = "crate::number::unsigned")]
    pub amount: u128,
    /// `posted`, `held`, `voided`, `expired` and what the server may add.
    pub state: String,
    /// A person's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// As given.
    #[serde(default)]
    pub metadata: Value,
    /// RFC 3339, UTC, microseconds.
    pub created_at: String,
    /// The two accounts' balances after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<BalanceAfter>,
    /// What else the server tells of it.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// The balances a transfer left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BalanceAfter {
    /// Of the account it was taken from.
    #[serde(with = "crate::number::signed")]
    pub from: i128,
    /// Of the account it went to.
    #[serde(with = "crate::number::signed")]
    pub to: i128,
}

/// A line of an account's history: a transfer with what it left of this account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// Which transfer.
    pub id: String,
    /// The account it is taken from.
    pub from: String,
    /// The account it goes to.
    pub to: String,
    /// How much, in the unit's smallest part.
    #[serde(with = "crate::number::unsigned")]
    pub amount: u128,
    /// As it was after this event.
    pub state: String,
    /// This account's balance afterwards.
    #[serde(with = "crate::number::signed")]
    pub balance_after: i128,
    /// What happened to it: `posted`, `held`, `captured`, `voided`, `expired`, `reversal` and what the server may add.
    pub event: String,
    /// When that happened: RFC 3339, UTC, microseconds.
    pub at: String,
    /// When the transfer was made, likewise.
    pub created_at: String,
    /// What else the server tells of it.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// Many transfers in one request.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Batch {
    /// All or none.
    pub atomic: bool,
    /// At most 8,192.
    pub items: Vec<BatchItem>,
}

/// One transfer of a batch, with a key of its own.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BatchItem {
    /// Names this transfer, under whatever batch it is sent.
    pub key: String,
    /// The transfer.
    #[serde(flatten)]
    pub transfer: NewTransfer,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BatchResult {
    /// In the order of the batch's items.
    pub items: Vec<ItemResult>,
}

/// What became of one item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ItemResult {
    /// Its key.
    pub key: String,
    /// `committed` or `refused`.
    pub outcome: String,
    /// As a request of its own would have had.
    pub status: u16,
    /// The transfer, if it committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// Why not, if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What else the server tells of it.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// A page of a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// What became of a key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// The key.
    pub key: String,
    /// `committed` or `refused`; `uncertain` while it is in flight.
    pub outcome: String,
    /// The status of its first answer.
    pub status: u16,
    /// Its first answer.
    #[serde(default)]
    pub body: Value,
    /// The log entry that decided it: `<cell>:<epoch>:<index>`.
    #[serde(default)]
    pub position: Option<String>,
    /// Of a refused operation: why, where the body does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What else the server tells of it.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// Whether a server can serve, and what it says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// What the server tells: role, position, lag.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl NewAccount {
    /// An account that may not fall below zero.
    pub fn new(id: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { id: id.into(), unit: unit.into(), floor: Some(0), metadata: None }
    }

    /// It may fall as low as anyone likes: the outside world.
    pub fn without_floor(mut self) -> Self {
        self.floor = None;
        self
    }

    /// The lowest `available` a transfer may leave.
    pub fn floor(mut self, units: i128) -> Self {
        self.floor = Some(units);
        self
    }

    /// Any JSON object, kept with it.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

impl NewTransfer {
    /// So many of the unit's smallest part from one account to another.
    pub fn new(from: impl Into<String>, to: impl Into<String>, amount: u128) -> Self {
        Self { from: from.into(), to: to.into(), amount, hold_ms: None, memo: None, metadata: None }
    }

    /// Set it aside for that long instead of posting it: capture or void it before it expires.
    pub fn hold(mut self, how_long: Duration) -> Self {
        self.hold_ms = Some(u64::try_from(how_long.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// A person's note.
    pub fn memo(mut self, memo: impl Into<String>) -> Self {
        self.memo = Some(memo.into());
        self
    }

    /// Any JSON object, kept with it.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

impl ItemResult {
    /// The item's outcome, typed.
    pub fn into_outcome(self) -> Outcome<Transfer> {
        match (self.transfer, self.problem) {
            (Some(transfer), _) => Outcome::Committed(transfer),
            (None, Some(problem)) if self.outcome == "refused" => Outcome::Refused(problem),
            (None, _) => {
                let reason = format!("the server said `{}` and nothing else", self.outcome);
                Outcome::Uncertain(Uncertain { operation: operation_path(&self.key), reason, sent: true })
            }
        }
    }
}

/// The body of capture and reverse.
#[derive(Serialize)]
struct Part {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "part_amount")]
    amount: Option<u128>,
}

fn part_amount<S: serde::Serializer>(amount: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(units) => crate::number::unsigned::serialize(units, serializer),
        None => serializer.serialize_none(),
    }
}

impl Client {
    /// Opens an account.
    pub fn open_account(&self, account: &NewAccount) -> Write<'_, Account> {
        Write::new(self, "/v1/accounts".to_owned(), account)
    }

    /// Reads an account.
    pub fn account(&self, id: &str) -> Read<'_, Account> {
        Read::new(self, format!("/v1/accounts/{}", segment(id)))
    }

    /// Reads the accounts in the order they were opened, page by page.
    pub fn accounts(&self, unit: Option<&str>) -> Accounts<'_> {
        let unit = unit.map(|unit| format!("&unit={}", segment(unit))).unwrap_or_default();
        Accounts(Pages::new(self, format!("/v1/accounts?limit={PAGE_ITEMS}{unit}")))
    }

    /// Reads an account's transfers, newest first, page by page.
    ///
    /// ```no_run
    /// # async fn example(client: &tertium_client::Client) -> Result<(), tertium_client::ReadError> {
    /// let mut history = client.history("alice");
    /// while let Some(movement) = history.next().await? {
    ///     println!("{} {} {}", movement.created_at, movement.amount, movement.balance_after);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, account: &str) -> History<'_> {
        History(Pages::new(self, format!("/v1/accounts/{}/transfers?limit={PAGE_ITEMS}", segment(account))))
    }

    /// Moves money, or sets it aside.
    pub fn transfer(&self, transfer: &NewTransfer) -> Write<'_, Transfer> {
        Write::new(self, "/v1/transfers".to_owned(), transfer)
    }

    /// Reads a transfer as it is now.
    pub fn transfer_by_id(&self, id: &str) -> Read<'_, Transfer> {
        Read::new(self, format!("/v1/transfers/{}", segment(id)))
    }

    /// Posts a held transfer: all of it, or that much, and the rest is released.
    pub fn capture(&self, transfer: &str, amount: Option<u128>) -> Write<'_, Transfer> {
        Write::new(self, format!("/v1/transfers/{}/capture", segment(transfer)), &Part { amount })
    }

    /// Releases a held transfer.
    pub fn void(&self, transfer: &str) -> Write<'_, Transfer> {
        Write::new(self, format!("/v1/transfers/{}/void", segment(transfer)), &Part { amount: None })
    }

    /// Moves a posted transfer's money back: all that is left of it, or that much.
    pub fn reverse(&self, transfer: &str, amount: Option<u128>) -> Write<'_, Transfer> {
        Write::new(self, format!("/v1/transfers/{}/reverse", segment(transfer)), &Part { amount })
    }

    /// Makes many transfers. The batch has its key and each item its own: sent again under whatever batch key, only what
    /// was not applied is applied.
    pub fn batch(&self, batch: &Batch) -> Write<'_, BatchResult> {
        Write::new(self, "/v1/transfers/batch".to_owned(), batch)
    }

    /// Asks what became of a key. A key never decided is the refusal `operation-unknown`.
    pub fn operation(&self, key: &str) -> Read<'_, Operation> {
        Read::new(self, operation_path(key))
    }

    /// Makes a key definite: what was decided stays as it is; what was not is barred, and certainly never happens.
    pub fn settle(&self, key: &str) -> Settle<'_> {
        Settle { client: self, key: key.to_owned(), deadline: self.options().deadline }
    }

    /// Asks whether the server can serve.
    pub fn readyz(&self) -> Read<'_, Readiness> {
        Read::new(self, "/readyz".to_owned())
    }
}

/// Items are asked for by the hundred: one round trip in a hundred, and no page that is slow to make.
const PAGE_ITEMS: usize = 100;

/// Accounts, fetched page by page as they are asked for.
#[derive(Debug)]
pub struct Accounts<'c>(Pages<'c, Account>);

/// An account's transfers, newest first, fetched page by page as they are asked for.
#[derive(Debug)]
pub struct History<'c>(Pages<'c, Movement>);

#[derive(Debug)]
struct Pages<'c, T> {
    client: &'c Client,
    path: String,
    ready: VecDeque<T>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    At(String),
    End,
}

impl Accounts<'_> {
    /// The next account; `None` after the last.
    ///
    /// # Errors
    /// [`ReadError`]; asking again tries again.
    pub async fn next(&mut self) -> Result<Option<Account>, ReadError> {
        self.0.next().await
    }
}

impl History<'_> {
    /// Only what happened at or after this instant (RFC 3339).
    #[must_use]
    pub fn from(mut self, instant: &str) -> Self {
        self.0.path.push_str(&format!("&from={}", segment(instant)));
        self
    }

    /// Only what happened before this instant (RFC 3339).
    #[must_use]
    pub fn to(mut self, instant: &str) -> Self {
        self.0.path.push_str(&format!("&to={}", segment(instant)));
        self
    }

    /// The next older transfer; `None` after the oldest.
    ///
    /// # Errors
    /// [`ReadError`]; asking again tries again.
    pub async fn next(&mut self) -> Result<Option<Movement>, ReadError> {
        self.0.next().await
    }
}

impl<'c, T: DeserializeOwned + Send> Pages<'c, T> {
    fn new(client: &'c Client, path: String) -> Self {
        Self { client, path, ready: VecDeque::new(), next: Next::First }
    }

    async fn next(&mut self) -> Result<Option<T>, ReadError> {
        while self.ready.is_empty() {
            let path = match &self.next {
                Next::First => self.path.clone(),
                Next::At(cursor) => format!("{}&cursor={}", self.path, segment(cursor)),
                Next::End => return Ok(None),
            };
            let page: Page<T> = Read::new(self.client, path).await?.value;
            self.ready.extend(page.items);
            self.next = page.next.map_or(Next::End, Next::At);
        }
        Ok(self.ready.pop_front())
    }
}
