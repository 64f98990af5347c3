//! Payment: from a customer's purse into the till, if there is enough in it, and back.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{DeedError, Reply, TILL, text};

pub(super) const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS purses (customer TEXT PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS charges (
      purchase TEXT NOT NULL, customer TEXT NOT NULL, amount INTEGER NOT NULL, refunded INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE INDEX IF NOT EXISTS charges_by_purchase ON charges (purchase);";

/// Refused with 422, as its callers send a call again when they do not know what became of it, and to that 409 would be no
/// answer: it could be about the copy.
pub(super) fn charge(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let (purchase, customer) = (text(request, "order")?, text(request, "customer")?);
    let amount = request["amount"].as_i64().ok_or(DeedError::Field("amount"))?;
    let take = "UPDATE purses SET balance = balance - ?2 WHERE customer = ?1 AND balance >= ?2";
    if tx.execute(take, (customer, amount))? == 0 {
        return Reply::refused(422, "insufficient-funds", customer);
    }
    give(tx, TILL, amount)?;
    let note = "INSERT INTO charges (purchase, customer, amount) VALUES (?1, ?2, ?3)";
    tx.execute(note, (purchase, customer, amount))?;
    Reply::done(json!({ "order": purchase, "amount": amount }))
}

pub(super) fn refund(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let purchase = text(request, "order")?;
    let mut charges = tx.prepare("SELECT rowid, customer, amount FROM charges WHERE purchase = ?1 AND NOT refunded")?;
    let charged = charges.query_map((purchase,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let charged: Vec<(i64, String, i64)> = charged.collect::<Result<_, _>>()?;
    for (charge, customer, amount) in &charged {
        give(tx, TILL, -amount)?;
        give(tx, customer, *amount)?;
        tx.execute("UPDATE charges SET refunded = 1 WHERE rowid = ?1", (charge,))?;
    }
    Reply::done(json!({ "refunded": charged.iter().map(|(.., amount)| amount).sum::<i64>() }))
}

fn give(tx: &Connection, customer: &str, amount: i64) -> Result<(), DeedError> {
    tx.execute("UPDATE purses SET balance = balance + ?2 WHERE customer = ?1", (customer, amount))?;
    Ok(())
}
