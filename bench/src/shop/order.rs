//! A real shop's invoices as orders, and supplies that are a little short of them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::retail;

/// An order: what a customer wants, and what it costs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Its name: the invoice's number, with how often it was taken before where the data has too few.
    pub id: String,
    /// Who wants it, and pays.
    pub customer: String,
    /// How many of each product.
    pub items: BTreeMap<String, i64>,
    /// In thousandths of a pound.
    pub total: i64,
}

/// What there is before the first order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Supplies {
    /// How many of each product.
    pub levels: BTreeMap<String, i64>,
    /// What each customer has, in thousandths of a pound.
    pub purses: BTreeMap<String, i64>,
}

/// One product in so many is short.
const SHORT_PRODUCTS: usize = 25;
/// One customer in so many is.
const SHORT_CUSTOMERS: usize = 8;

/// The first `count` invoices that sell something. Cancellations, corrections and gifts are no orders. Where the data has
/// fewer, they are ordered again.
///
/// # Errors
/// Where the data can not be read, or sells nothing.
pub fn orders(data: &Path, count: usize) -> io::Result<Vec<Order>> {
    let mut orders: Vec<Order> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    retail::each_line(data, |line| {
        let is_sale = line.quantity > 0 && line.price > 0 && line.invoice.bytes().all(|byte| byte.is_ascii_digit());
        if !is_sale {
            return;
        }
        let place = *places.entry(line.invoice.to_owned()).or_insert(orders.len());
        if place == orders.len() {
            let (id, customer) = (line.invoice.to_owned(), retail::account_of(line.customer));
            orders.push(Order { id, customer, items: BTreeMap::new(), total: 0 });
        }
        let order = &mut orders[place];
        *order.items.entry(line.sku.to_owned()).or_default() += line.quantity;
        order.total += line.quantity * line.price;
    })?;
    if orders.is_empty() {
        return Err(io::Error::other(format!("{} sells nothing", data.display())));
    }
    let again = |(number, order): (usize, &Order)| {
        let round = number / orders.len();
        let id = if round == 0 { order.id.clone() } else { format!("{}-{round}", order.id) };
        Order { id, ..order.clone() }
    };
    Ok(orders.iter().cycle().take(count).enumerate().map(again).collect())
}

impl Supplies {
    /// Enough for each of these orders so many times.
    pub fn enough_for(orders: &[Order], times: i64) -> Self {
        let mut supplies = Self::default();
        for order in orders {
            *supplies.purses.entry(order.customer.clone()).or_default() += times * order.total;
            for (sku, quantity) in &order.items {
                *supplies.levels.entry(sku.clone()).or_default() += times * quantity;
            }
        }
        supplies
    }

    /// Enough for nearly all of these orders: some products run out, and some customers have too little.
    pub fn nearly_enough(orders: &[Order]) -> Self {
        let mut supplies = Self::enough_for(orders, 1);
        for level in supplies.levels.values_mut().step_by(SHORT_PRODUCTS) {
            *level -= *level / 8;
        }
        for purse in supplies.purses.values_mut().step_by(SHORT_CUSTOMERS) {
            *purse -= *purse / 3;
        }
        supplies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invoices_become_orders_and_there_are_as_many_as_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day.csv");
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                    1,a,\"A, b\",2,x,1.005,17850.0,UK\n1,a,\"A, b\",2,x,1.005,17850.0,UK\n1,b,B,1,x,0,17850.0,UK\n\
                    C2,a,A,-1,x,1.005,,UK\n3,b,B,5,x,1,,UK\nA4,c,C,1,x,1,,UK\n5,c,C,1,x,-1,,UK\n";
        std::fs::write(&path, text).unwrap();
        let order = |id: &str, customer: &str, (sku, quantity): (&str, i64), total| Order {
            id: id.to_owned(),
            customer: customer.to_owned(),
            items: BTreeMap::from([(sku.to_owned(), quantity)]),
            total,
        };
        let expected = [
            order("1", "customer/17850", ("a", 4), 4_020),
            order("3", "guest", ("b", 5), 5_000),
            order("1-1", "customer/17850", ("a", 4), 4_020),
        ];
        assert_eq!(orders(&path, 3).unwrap(), expected);
        assert_eq!(orders(&path, 1).unwrap(), expected[..1]);
        let supplies = Supplies::nearly_enough(&expected);
        assert_eq!(supplies.levels, BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 5)]));
        assert_eq!(supplies.purses["customer/17850"], 8_040 - 2_680);
    }
}
