//! A shop of four services that fail apart, each a process with a database of its own, and the orders that go through them.
//!
//! Stock, payment, shipping and notification know nothing of each other. Each keeps what a call did and the call's key in
//! one transaction of its own SQLite, by the inbox's layer. The orders are a real shop's invoices. Whatever is killed or
//! lost on the way, in the end each order is either reserved, paid, shipped and told of once, or wholly undone, and stock
//! and money add up to the unit: [`books`] says so, from what is in the databases.

pub mod books;
pub mod checkout;
pub mod order;
pub mod postman;
pub mod service;
pub mod store;
pub mod street;
pub mod trade;
