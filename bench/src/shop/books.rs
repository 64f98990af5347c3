//! Whether an order went through whole or not at all, and whether stock and money add up: from what is in the four
//! databases and in the cell's ledger, against what there was and what the buyers were told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::order::{Order, Supplies};
use super::trade::TILL;

/// What a buyer was told of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is on its way.
    Done,
    /// Nothing came of it.
    Undone,
}

/// Everything that is written down anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Books {
    /// How many of each product are on the shelf.
    pub levels: BTreeMap<String, i64>,
    /// What is set aside for orders.
    pub reservations: Vec<Item>,
    /// What each customer has, and the till.
    pub purses: BTreeMap<String, i64>,
    /// What was taken from customers and not given back.
    pub charges: Vec<Charge>,
    /// What is in parcels.
    pub parcels: Vec<Item>,
    /// The order of each message.
    pub messages: Vec<String>,
    /// How many pieces were put back, and how much money was given back.
    pub undone: (i64, i64),
    /// What the cell's ledger says was sold; `None` where it was not asked to book it.
    pub sales: Option<i64>,
}

/// So many of one product for an order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// The order.
    pub order: String,
    /// The product.
    pub sku: String,
    /// How many.
    pub quantity: i64,
}

/// Money taken for an order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Charge {
    /// The order.
    pub order: String,
    /// From whom.
    pub customer: String,
    /// How much, in thousandths of a pound.
    pub amount: i64,
}

/// What was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reconciled {
    /// Orders that are reserved, paid, shipped and told of, once.
    pub done: usize,
    /// Orders of which nothing is left.
    pub undone: usize,
    /// Pieces that were sold.
    pub pieces: i64,
    /// What was paid, in thousandths of a pound.
    pub paid: i64,
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pounds, rest) = (self.paid / 1_000, self.paid % 1_000);
        write!(
            f,
            "{} orders reserved, paid, shipped and told of, once each; {} wholly undone; {} pieces and {pounds}.{rest:03} \
             pounds reconcile to the unit",
            self.done, self.undone, self.pieces
        )
    }
}

impl Books {
    /// Reads the four databases below that directory.
    ///
    /// # Errors
    /// Where one can not be read.
    pub fn read(data: &Path) -> rusqlite::Result<Self> {
        let open = |name: &str| Connection::open_with_flags(data.join(name), OpenFlags::SQLITE_OPEN_READ_WRITE);
        let (stock, payment) = (open("stock.db")?, open("payment.db")?);
        let charges = "SELECT purchase, customer, amount FROM charges WHERE NOT refunded";
        Ok(Self {
            levels: pairs(&stock, "SELECT sku, quantity FROM levels")?,
            reservations: items(&stock, "SELECT purchase, sku, quantity FROM reservations WHERE NOT released")?,
            purses: pairs(&payment, "SELECT customer, balance FROM purses")?,
            charges: rows(&payment, charges, |row| {
                Ok(Charge { order: row.get(0)?, customer: row.get(1)?, amount: row.get(2)? })
            })?,
            parcels: items(&open("shipping.db")?, "SELECT purchase, sku, quantity FROM parcels")?,
            messages: rows(&open("notification.db")?, "SELECT purchase FROM messages", |row| row.get(0))?,
            undone: (
                sum(&stock, "SELECT coalesce(sum(quantity), 0) FROM reservations WHERE released")?,
                sum(&payment, "SELECT coalesce(sum(amount), 0) FROM charges WHERE refunded")?,
            ),
            sales: None,
        })
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Everything that is not as it must be, a line for each.
    pub fn reconcile(
        &self,
        supplies: &Supplies,
        orders: &[Order],
        told: &BTreeMap<String, End>,
    ) -> Result<Reconciled, Vec<String>> {
        let (mut findings, mut sum) = (Vec::new(), Reconciled::default());
        let mut expected = Self { levels: supplies.levels.clone(), purses: supplies.purses.clone(), ..Self::default() };
        expected.purses.insert(TILL.to_owned(), 0);
        for order in orders {
            match told.get(&order.id) {
                Some(End::Done) => {
                    expected.enter(order);
                    sum.done += 1;
                    sum.pieces += order.items.values().sum::<i64>();
                    sum.paid += order.total;
                }
                Some(End::Undone) => sum.undone += 1,
                None => findings.push(format!("order {}: its buyer was told nothing", order.id)),
            }
        }
        self.compare(&expected, &mut findings);
        if let Some(sales) = self.sales.filter(|sales| *sales != sum.paid) {
            findings.push(format!("the cell's ledger has sales of {sales}, not {}", sum.paid));
        }
        if findings.is_empty() { Ok(sum) } else { Err(findings) }
    }

    /// An order that went through.
    fn enter(&mut self, order: &Order) {
        for (sku, quantity) in &order.items {
            *self.levels.entry(sku.clone()).or_default() -= quantity;
            let item = Item { order: order.id.clone(), sku: sku.clone(), quantity: *quantity };
            self.reservations.push(item.clone());
            self.parcels.push(item);
        }
        *self.purses.entry(order.customer.clone()).or_default() -= order.total;
        *self.purses.entry(TILL.to_owned()).or_default() += order.total;
        let (customer, amount) = (order.customer.clone(), order.total);
        self.charges.push(Charge { order: order.id.clone(), customer, amount });
        self.messages.push(order.id.clone());
    }

    fn compare(&self, expected: &Self, findings: &mut Vec<String>) {
        each_once("reserved", &self.reservations, &expected.reservations, findings);
        each_once("charged", &self.charges, &expected.charges, findings);
        each_once("shipped", &self.parcels, &expected.parcels, findings);
        each_once("told of", &self.messages, &expected.messages, findings);
        same_sums("stock of", &self.levels, &expected.levels, findings);
        same_sums("purse of", &self.purses, &expected.purses, findings);
    }
}

/// The same things, each as often as it must be there.
fn each_once<T: Ord + fmt::Debug>(what: &str, found: &[T], expected: &[T], findings: &mut Vec<String>) {
    let mut counts: BTreeMap<&T, (i64, i64)> = BTreeMap::new();
    found.iter().for_each(|one| counts.entry(one).or_default().0 += 1);
    expected.iter().for_each(|one| counts.entry(one).or_default().1 += 1);
    let wrong = counts.iter().filter(|(_, (found, expected))| found != expected);
    findings.extend(wrong.map(|(one, (found, expected))| format!("{what} {found} times, not {expected}: {one:?}")));
}

fn same_sums(what: &str, found: &BTreeMap<String, i64>, expected: &BTreeMap<String, i64>, findings: &mut Vec<String>) {
    let names: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for name in names {
        let (found, expected) = (found.get(name), expected.get(name));
        if found != expected {
            findings.push(format!("{what} {name}: {found:?}, not {expected:?}"));
        }
    }
}

fn sum(connection: &Connection, query: &str) -> rusqlite::Result<i64> {
    connection.query_row(query, (), |row| row.get(0))
}

fn pairs(connection: &Connection, query: &str) -> rusqlite::Result<BTreeMap<String, i64>> {
    Ok(rows(connection, query, |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
}

fn items(connection: &Connection, query: &str) -> rusqlite::Result<Vec<Item>> {
    rows(connection, query, |row| Ok(Item { order: row.get(0)?, sku: row.get(1)?, quantity: row.get(2)? }))
}

fn rows<T>(
    connection: &Connection,
    query: &str,
    take: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map((), take)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str) -> Order {
        let items = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        Order { id: id.to_owned(), customer: "ann".to_owned(), items, total: 70 }
    }

    fn supplies() -> Supplies {
        Supplies {
            levels: BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 10)]),
            purses: BTreeMap::from([("ann".to_owned(), 500)]),
        }
    }

    /// The books after order 1 went through and order 2 did not.
    fn whole() -> Books {
        let mut books = Books { levels: supplies().levels, purses: supplies().purses, ..Books::default() };
        books.purses.insert(TILL.to_owned(), 0);
        books.enter(&order("1"));
        books.sales = Some(70);
        books
    }

    #[track_caller]
    fn check(harm: fn(&mut Books), expected: &[&str]) {
        let mut books = whole();
        harm(&mut books);
        let told = BTreeMap::from([("1".to_owned(), End::Done), ("2".to_owned(), End::Undone)]);
        let found = books.reconcile(&supplies(), &[order("1"), order("2")], &told);
        let findings = found.err().unwrap_or_default();
        let briefly: Vec<_> = findings.iter().map(|finding| finding.split(": ").next().unwrap()).collect();
        assert_eq!(briefly, expected, "{findings:?}");
    }

    #[test]
    fn whole_books_reconcile() {
        let told = BTreeMap::from([("1".to_owned(), End::Done), ("2".to_owned(), End::Undone)]);
        let sum = whole().reconcile(&supplies(), &[order("1"), order("2")], &told);
        assert_eq!(sum, Ok(Reconciled { done: 1, undone: 1, pieces: 3, paid: 70 }));
    }

    #[test]
    fn each_fault_is_found() {
        check(|_| (), &[]);
        check(|books| books.charges.push(books.charges[0].clone()), &["charged 2 times, not 1"]);
        check(|books| books.charges.clear(), &["charged 0 times, not 1"]);
        check(|books| books.messages.push("1".to_owned()), &["told of 2 times, not 1"]);
        check(|books| books.messages.push("2".to_owned()), &["told of 1 times, not 0"]);
        check(|books| drop(books.parcels.pop()), &["shipped 0 times, not 1"]);
        check(|books| books.reservations[0].quantity = 3, &["reserved 0 times, not 1", "reserved 1 times, not 0"]);
        check(|books| *books.levels.get_mut("a").unwrap() -= 1, &["stock of a"]);
        check(|books| *books.purses.get_mut(TILL).unwrap() += 1, &["purse of shop"]);
        check(|books| assert!(books.purses.remove("ann").is_some()), &["purse of ann"]);
        check(|books| books.sales = Some(69), &["the cell's ledger has sales of 69, not 70"]);
    }

    #[test]
    fn a_buyer_who_was_told_nothing_is_found() {
        let told = BTreeMap::from([("1".to_owned(), End::Done)]);
        let found = whole().reconcile(&supplies(), &[order("1"), order("2")], &told).unwrap_err();
        assert_eq!(found, ["order 2: its buyer was told nothing"]);
    }
}
