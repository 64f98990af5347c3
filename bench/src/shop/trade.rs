//! What the four services do: their tables, and each of their deeds as a function of a transaction and a request.
//!
//! No table keeps an order from being there twice: that is the inbox's business, and a table that did it too would hide
//! what the inbox let through.

use rusqlite::Connection;
use serde_json::{Value, json};

mod payment;
mod stock;

/// The account that the shop is paid into.
pub const TILL: &str = "shop";

/// One of the four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trade {
    /// How many there are of each product, and for which order they are set aside.
    Stock,
    /// The customers' purses and the till.
    Payment,
    /// Parcels on their way.
    Shipping,
    /// Messages to customers.
    Notification,
}

/// What a deed answers. What it wrote is kept only if that is a 2xx.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// Something a service does for whoever posts to its path, in a transaction.
pub type Deed = fn(&Connection, &Value) -> Result<Reply, DeedError>;

/// Why a deed could not be done.
#[derive(Debug)]
pub enum DeedError {
    /// The request lacks this field, or it is of another type.
    Field(&'static str),
    /// The database.
    Sqlite(rusqlite::Error),
}

impl Trade {
    /// All, in the order of a checkout.
    pub const ALL: [Self; 4] = [Self::Stock, Self::Payment, Self::Shipping, Self::Notification];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Payment => "payment",
            Self::Shipping => "shipping",
            Self::Notification => "notification",
        }
    }

    /// Its tables, made where they are not there.
    pub const fn tables(self) -> &'static str {
        match self {
            Self::Stock => stock::TABLES,
            Self::Payment => payment::TABLES,
            Self::Shipping => {
                "CREATE TABLE IF NOT EXISTS parcels (purchase TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL) \
                 STRICT;"
            }
            Self::Notification => {
                "CREATE TABLE IF NOT EXISTS messages (purchase TEXT NOT NULL, customer TEXT NOT NULL, tracking TEXT NOT \
                 NULL) STRICT;"
            }
        }
    }

    /// Its deeds, by their paths.
    pub const fn deeds(self) -> &'static [(&'static str, Deed)] {
        match self {
            Self::Stock => &[("/reservations", stock::reserve), ("/reservations/release", stock::release)],
            Self::Payment => &[("/charges", payment::charge), ("/charges/refund", payment::refund)],
            Self::Shipping => &[("/parcels", ship)],
            Self::Notification => &[("/messages", notify)],
        }
    }
}

impl Reply {
    fn done(body: Value) -> Result<Self, DeedError> {
        Ok(Self { status: 201, body })
    }

    fn refused(status: u16, code: &str, about: &str) -> Result<Self, DeedError> {
        Ok(Self { status, body: json!({ "code": code, "about": about }) })
    }
}

/// No carrier takes more pieces than this in one go.
pub const PIECES_MAX: i64 = 1_000;

fn ship(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let purchase = text(request, "order")?;
    if items(request)?.iter().map(|(_, quantity)| quantity).sum::<i64>() > PIECES_MAX {
        return Reply::refused(422, "too-many-pieces", purchase);
    }
    for (sku, quantity) in items(request)? {
        tx.execute("INSERT INTO parcels VALUES (?1, ?2, ?3)", (purchase, sku, quantity))?;
    }
    Reply::done(json!({ "tracking": format!("T-{purchase}") }))
}

fn notify(tx: &Connection, request: &Value) -> Result<Reply, DeedError> {
    let (purchase, customer) = (text(request, "order")?, text(request, "customer")?);
    tx.execute("INSERT INTO messages VALUES (?1, ?2, ?3)", (purchase, customer, text(request, "tracking")?))?;
    Reply::done(json!({}))
}

fn text<'v>(request: &'v Value, field: &'static str) -> Result<&'v str, DeedError> {
    request[field].as_str().ok_or(DeedError::Field(field))
}

fn items(request: &Value) -> Result<Vec<(&str, i64)>, DeedError> {
    let items = request["items"].as_object().ok_or(DeedError::Field("items"))?;
    items.iter().map(|(sku, n)| Ok((sku.as_str(), n.as_i64().ok_or(DeedError::Field("items"))?))).collect()
}

impl From<rusqlite::Error> for DeedError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl std::fmt::Display for DeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(field) => write!(f, "`{field}` is missing or of another type"),
            Self::Sqlite(_) => f.write_str("the database failed"),
        }
    }
}

impl std::error::Error for DeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Field(_) => None,
            Self::Sqlite(error) => Some(error),
        }
    }
}
