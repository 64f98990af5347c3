//! Stock: taken off the shelf for an order, all of it or nothing, and put back.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{DeedError, Reply, items, text};

pub(super) const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS levels (sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS reservations (
      purchase TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL, released INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE INDEX IF NOT EXISTS reservations_by_purchase ON reservations (purchase);";

/// Refused with 409, as its callers ask here what became of a call, and to that question 409 is an answer.
pub(super) fn reserve(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let purchase = text(request, "order")?;
    for (sku, quantity) in items(request)? {
        let take = "UPDATE levels SET quantity = quantity - ?2 WHERE sku = ?1 AND quantity >= ?2";
        if tx.execute(take, (sku, quantity))? == 0 {
            return Reply::refused(409, "out-of-stock", sku);
        }
        let note = "INSERT INTO reservations (purchase, sku, quantity) VALUES (?1, ?2, ?3)";
        tx.execute(note, (purchase, sku, quantity))?;
    }
    Reply::done(json!({ "order": purchase }))
}

pub(super) fn release(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let purchase = text(request, "order")?;
    tx.execute(
        "UPDATE levels SET quantity = levels.quantity + back.pieces FROM
           (SELECT sku, sum(quantity) AS pieces FROM reservations WHERE purchase = ?1 AND NOT released GROUP BY sku) AS back
         WHERE levels.sku = back.sku",
        (purchase,),
    )?;
    let released =
        tx.execute("UPDATE reservations SET released = 1 WHERE purchase = ?1 AND NOT released", (purchase,))?;
    Reply::done(json!({ "released": released }))
}
