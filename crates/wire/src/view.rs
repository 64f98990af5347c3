//! Accounts, transfers, lists and operations as strangers see them.

use machine::{Body, Event, Moved, Opened, Record};
use words::{CellName, Outcome, Position, Stamp};

use crate::cursor::Cursor;
use crate::instant::put_instant;
use crate::json::{put_amount, put_balance, put_json_or_null, put_plain, put_str, put_str_or_null, put_u64};

/// An account at some position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it counts.
    pub unit: &'a str,
    /// The lowest `available` a transfer may leave; `None` = no floor.
    pub floor: Option<i128>,
    /// What was moved to it less what was moved from it.
    pub balance: i128,
    /// The sum of open holds from it.
    pub held: i128,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
    /// When it was opened.
    pub created: Stamp,
    /// How many records changed it, the opening included.
    pub version: u64,
}

impl<'a> Account<'a> {
    /// As it was when it was opened.
    pub const fn opened(opened: &Opened<'a>, created: Stamp) -> Self {
        Self {
            id: opened.id,
            unit: opened.unit,
            floor: opened.floor,
            balance: 0,
            held: 0,
            metadata: opened.metadata,
            created,
            version: 1,
        }
    }

    /// `balance - held`.
    pub const fn available(&self) -> i128 {
        self.balance.saturating_sub(self.held)
    }
}

/// Appends an account.
pub fn write_account(out: &mut Vec<u8>, account: &Account<'_>) {
    out.extend_from_slice(b"{\"id\":");
    put_plain(out, account.id);
    out.extend_from_slice(b",\"unit\":");
    put_plain(out, account.unit);
    out.extend_from_slice(b",\"floor\":");
    match account.floor {
        Some(floor) => put_balance(out, floor),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"balance\":");
    put_balance(out, account.balance);
    out.extend_from_slice(b",\"held\":");
    put_balance(out, account.held);
    out.extend_from_slice(b",\"available\":");
    put_balance(out, account.available());
    out.extend_from_slice(b",\"metadata\":");
    put_json_or_null(out, account.metadata);
    out.extend_from_slice(b",\"created_at\":");
    put_instant(out, account.created);
    out.extend_from_slice(b",\"version\":");
    put_u64(out, account.version);
    out.push(b'}');
}

/// Appends a transfer, with the balances of both accounts as the event left them.
pub fn write_transfer(out: &mut Vec<u8>, moved: &Moved<'_>) {
    write_transfer_fields(out, moved);
    out.extend_from_slice(b",\"balance_after\":{\"from\":");
    put_balance(out, moved.from_after.balance);
    out.extend_from_slice(b",\"to\":");
    put_balance(out, moved.to_after.balance);
    out.extend_from_slice(b"}}");
}

/// Appends what an event of the ledger says of a transfer: the transfer as the event left it, and how often either account
/// had changed then, so that whoever hears the events of one account from two keys can put them into order.
pub(crate) fn write_moved_event(out: &mut Vec<u8>, moved: &Moved<'_>) {
    write_transfer(out, moved);
    out.pop();
    out.extend_from_slice(b",\"account_version\":{\"from\":");
    put_u64(out, moved.from_after.version);
    out.extend_from_slice(b",\"to\":");
    put_u64(out, moved.to_after.version);
    out.extend_from_slice(b"}}");
}

/// Appends one line of an account's history: the transfer as the event left it, the event, when it was (`at`), and the
/// balance of this account after it.
fn write_history_line(out: &mut Vec<u8>, account: &str, stamp: Stamp, moved: &Moved<'_>) {
    write_transfer_fields(out, moved);
    out.extend_from_slice(b",\"event\":");
    put_plain(out, event_word(moved.event));
    out.extend_from_slice(b",\"at\":");
    put_instant(out, stamp);
    out.extend_from_slice(b",\"balance_after\":");
    let after = if moved.from == account { &moved.from_after } else { &moved.to_after };
    put_balance(out, after.balance);
    out.push(b'}');
}

/// Everything but the closing brace and what differs between an answer and a line of history.
fn write_transfer_fields(out: &mut Vec<u8>, moved: &Moved<'_>) {
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(&moved.transfer.to_ascii());
    out.extend_from_slice(b"\",\"from\":");
    put_plain(out, moved.from);
    out.extend_from_slice(b",\"to\":");
    put_plain(out, moved.to);
    out.extend_from_slice(b",\"unit\":");
    put_plain(out, moved.unit);
    out.extend_from_slice(b",\"amount\":");
    put_amount(out, moved.amount);
    out.extend_from_slice(b",\"state\":");
    put_plain(out, state_word(moved.event));
    out.extend_from_slice(b",\"memo\":");
    put_str_or_null(out, moved.memo);
    out.extend_from_slice(b",\"metadata\":");
    put_json_or_null(out, moved.metadata);
    out.extend_from_slice(b",\"created_at\":");
    put_instant(out, moved.created);
    if let Some(until) = moved.hold_until {
        out.extend_from_slice(b",\"hold_until\":");
        put_instant(out, until);
    }
    if let Some(reverses) = moved.reverses {
        out.extend_from_slice(b",\"reverses\":\"");
        out.extend_from_slice(&reverses.to_ascii());
        out.push(b'"');
    }
}

/// The state an event leaves a transfer in.
pub const fn state_word(event: Event) -> &'static str {
    match event {
        Event::Posted | Event::Captured | Event::Reversal => "posted",
        Event::Held => "held",
        Event::Voided => "voided",
        Event::Expired => "expired",
    }
}

/// The word for an event in an account's history.
pub const fn event_word(event: Event) -> &'static str {
    match event {
        Event::Posted => "posted",
        Event::Held => "held",
        Event::Captured => "captured",
        Event::Voided => "voided",
        Event::Expired => "expired",
        Event::Reversal => "reversal",
    }
}

/// Appends a page of accounts.
pub fn write_accounts<'a>(out: &mut Vec<u8>, accounts: impl IntoIterator<Item = Account<'a>>, next: Option<&Cursor>) {
    write_page(out, accounts, next, |out, account| write_account(out, &account));
}

/// Appends a page of the history of `account`. Records that move nothing (the opening) are left out.
pub fn write_history<'a>(
    out: &mut Vec<u8>,
    account: &str,
    records: impl IntoIterator<Item = Record<'a>>,
    next: Option<&Cursor>,
) {
    let lines = records.into_iter().filter_map(|record| match record.body {
        Body::Moved(moved) => Some((record.stamp, moved)),
        _ => None,
    });
    write_page(out, lines, next, |out, (stamp, moved)| write_history_line(out, account, stamp, &moved));
}

fn write_page<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    next: Option<&Cursor>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(cursor) => put_plain(out, &cursor.to_string()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// What is known of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Its key.
    pub key: &'a str,
    /// What became of it.
    pub outcome: Outcome,
    /// The first answer's HTTP status; 202 while there is none.
    pub status: u16,
    /// The first answer's body, which is JSON; empty while there is none.
    pub body: &'a [u8],
    /// The entry that decided it.
    pub position: Option<(&'a CellName, Position)>,
    /// When the request came in, as far as that is still known.
    pub received: Option<Stamp>,
    /// When it was decided.
    pub decided: Option<Stamp>,
    /// Until when its key is kept.
    pub expires: Option<Stamp>,
    /// How often the first answer was given again, as far as this process knows.
    pub replays: u64,
    /// How many requests joined it in flight, as far as this process knows.
    pub joins: u64,
}

/// Appends an operation.
pub fn write_operation(out: &mut Vec<u8>, operation: &Operation<'_>) {
    let instant = |out: &mut Vec<u8>, name: &[u8], stamp: Option<Stamp>| {
        out.extend_from_slice(name);
        match stamp {
            Some(stamp) => put_instant(out, stamp),
            None => out.extend_from_slice(b"null"),
        }
    };
    out.extend_from_slice(b"{\"key\":");
    put_str(out, operation.key);
    out.extend_from_slice(b",\"outcome\":");
    put_plain(out, operation.outcome.as_str());
    out.extend_from_slice(b",\"status\":");
    put_u64(out, operation.status.into());
    out.extend_from_slice(b",\"body\":");
    out.extend_from_slice(if operation.body.is_empty() { b"null" } else { operation.body });
    out.extend_from_slice(b",\"position\":");
    match operation.position {
        Some((cell, position)) => put_plain(out, &format!("{cell}:{position}")),
        None => out.extend_from_slice(b"null"),
    }
    instant(out, b",\"received_at\":", operation.received);
    instant(out, b",\"decided_at\":", operation.decided);
    instant(out, b",\"expires_at\":", operation.expires);
    out.extend_from_slice(b",\"replays\":");
    put_u64(out, operation.replays);
    out.extend_from_slice(b",\"joins\":");
    put_u64(out, operation.joins);
    out.push(b'}');
}

/// Whether and how this server can serve.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// Whether it takes work.
    pub ready: bool,
    /// What it is to its cell: `leader`, `follower`, `recovering`, `stopping`.
    pub role: &'a str,
    /// Its name.
    pub node: &'a str,
    /// The reign it knows of.
    pub epoch: u64,
    /// Who claimed that; empty where it is not known.
    pub leader: &'a str,
    /// How far it has applied.
    pub position: (&'a CellName, Position),
    /// How far behind the log's tail that is at most, in milliseconds.
    pub lag_ms: u64,
    /// Why it is not ready; empty if it is.
    pub reason: &'a str,
}

/// Appends the answer of `/readyz`.
pub fn write_ready(out: &mut Vec<u8>, ready: &Ready<'_>) {
    let (cell, position) = ready.position;
    out.extend_from_slice(if ready.ready { b"{\"ready\":true,\"role\":" } else { b"{\"ready\":false,\"role\":" });
    put_str(out, ready.role);
    out.extend_from_slice(b",\"node\":");
    put_str(out, ready.node);
    out.extend_from_slice(b",\"epoch\":");
    put_u64(out, ready.epoch);
    out.extend_from_slice(b",\"leader\":");
    put_str_or_null(out, ready.leader);
    out.extend_from_slice(b",\"position\":");
    put_plain(out, &format!("{cell}:{position}"));
    out.extend_from_slice(b",\"lag_ms\":");
    put_u64(out, ready.lag_ms);
    out.extend_from_slice(b",\"reason\":");
    put_str_or_null(out, ready.reason);
    out.push(b'}');
}

#[cfg(test)]
mod tests;
