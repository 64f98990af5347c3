//! A real shop's invoices replayed as money, while replies get lost and the server is killed.
//!
//! One account for the shop, one per customer (rows without a customer share `guest`), one for the outside world. Each
//! invoice is one transfer under the key `invoice/<no>`: what was bought goes from the customer to the shop, a cancellation
//! goes back. A customer's account may go below zero until the bill is paid, at the end, from the outside world. The unit is
//! the thousandth of a pound, since some prices have three decimals.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::call::Client;
use crate::http;
use crate::process::{Launch, Server, workspace};
use crate::relay::{Faults, Relay};
use crate::storm::check::list;

/// What money is counted in.
pub const UNIT: &str = "gbp/1000";

const FAULTS: Faults = Faults { drop_reply: 0.05, duplicate: 0.01, delay: 0.0, delay_ms_max: 0 };

/// Connections at once.
const CONNECTIONS: usize = 16;

/// How long one operation may take to become definite.
const PATIENCE: Duration = Duration::from_secs(60);

/// One invoice, its lines added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invoice {
    /// Its number; a cancellation's begins with `C`.
    pub number: String,
    /// The customer's account.
    pub customer: String,
    /// What the customer owes for it, in thousandths of a pound; of a cancellation below zero.
    pub net: i64,
}

/// The shop's books.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sales {
    /// In the order of their first lines.
    pub invoices: Vec<Invoice>,
    /// Lines read.
    pub lines: usize,
}

/// Sums in thousandths of a pound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Ordinary invoices.
    pub ordinary: i64,
    /// Cancellations, counted positive.
    pub cancelled: i64,
}

impl Totals {
    /// Ordinary less cancelled.
    pub const fn net(self) -> i64 {
        self.ordinary - self.cancelled
    }
}

/// The totals that the data's README names for the half year, in thousandths of a pound.
pub const HALF_YEAR: Totals = Totals { ordinary: 4_064_726_591, cancelled: 357_898_950 };

impl Sales {
    /// Reads the CSV, packed with gzip where its name says so.
    ///
    /// # Errors
    /// Where it can not be read, or a line can not be counted exactly: with the line's number.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut sales = Self::default();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        each_line(path, |line| {
            sales.lines += 1;
            let place = *places.entry(line.invoice.to_owned()).or_insert(sales.invoices.len());
            if place == sales.invoices.len() {
                let customer = account_of(line.customer);
                sales.invoices.push(Invoice { number: line.invoice.to_owned(), customer, net: 0 });
            }
            sales.invoices[place].net += line.quantity * line.price;
        })?;
        Ok(sales)
    }

    /// The sums, straight from the invoices.
    pub fn totals(&self) -> Totals {
        let (cancellations, ordinary): (Vec<_>, Vec<_>) =
            self.invoices.iter().partition(|invoice| invoice.number.starts_with('C'));
        Totals {
            ordinary: ordinary.iter().map(|invoice| invoice.net).sum(),
            cancelled: -cancellations.iter().map(|invoice| invoice.net).sum::<i64>(),
        }
    }

    /// What each customer owes in the end.
    fn bills(&self) -> BTreeMap<&str, i64> {
        let mut bills = BTreeMap::new();
        for invoice in &self.invoices {
            *bills.entry(invoice.customer.as_str()).or_insert(0) += invoice.net;
        }
        bills
    }
}

/// One line of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The invoice's number; a cancellation's begins with `C`.
    pub invoice: &'a str,
    /// The product's code.
    pub sku: &'a str,
    /// How many; below zero of what came back.
    pub quantity: i64,
    /// The price of one, in thousandths of a pound.
    pub price: i64,
    /// The customer's number as it is written; empty where there is none.
    pub customer: &'a str,
}

/// Reads the CSV, packed with gzip where its name says so, line by line.
///
/// # Errors
/// Where it can not be read, or a line can not be counted exactly: with the line's number.
pub fn each_line(path: &Path, mut take: impl FnMut(Line<'_>)) -> io::Result<()> {
    let file = BufReader::new(std::fs::File::open(path)?);
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let text: Box<dyn Read> = if is_packed { Box::new(flate2::bufread::GzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = csv::Reader::from_reader(text);
    let headers = reader.headers().map_err(io::Error::other)?.clone();
    let column = |name: &str| {
        headers.iter().position(|h| h == name).ok_or_else(|| io::Error::other(format!("no column {name}")))
    };
    let (invoice, sku, customer) = (column("InvoiceNo")?, column("StockCode")?, column("CustomerID")?);
    let (quantity, price) = (column("Quantity")?, column("UnitPrice")?);
    for (row, number) in reader.records().zip(2_u64..) {
        let row = row.map_err(io::Error::other)?;
        let exact = row[quantity].parse::<i64>().ok().zip(thousandths(&row[price]));
        let (quantity, price) = exact.ok_or_else(|| io::Error::other(format!("line {number} has no exact price")))?;
        take(Line { invoice: &row[invoice], sku: &row[sku], quantity, price, customer: &row[customer] });
    }
    Ok(())
}

pub(crate) fn account_of(customer: &str) -> String {
    match customer.trim_end_matches(".0") {
        "" => "guest".to_owned(),
        number => format!("customer/{number}"),
    }
}

/// A price in thousandths of a pound, if it is a whole number of them.
fn thousandths(price: &str) -> Option<i64> {
    let (sign, digits) = price.strip_prefix('-').map_or((1, price), |digits| (-1, digits));
    let (pounds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (kept, rest) = fraction.split_at(fraction.len().min(3));
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let fraction: i64 = format!("{kept:0<3}").parse().ok()?;
    Some(sign * (pounds.parse::<i64>().ok()? * 1_000 + fraction))
}

/// The data: `TERTIUM_RETAIL_DATA`, or the half year beside the workspace, or else the one day that comes with it.
pub fn data() -> PathBuf {
    let half_year = workspace().join("../shared/data/online-retail-2010-12-to-2011-05.csv.gz");
    std::env::var_os("TERTIUM_RETAIL_DATA").map(PathBuf::from).unwrap_or_else(|| {
        if half_year.exists() { half_year } else { workspace().join("docs/examples/retail-2010-12-01.csv") }
    })
}

/// What a replay did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Lines and invoices of the data.
    pub sales: (usize, usize),
    /// Invoices that add up to nothing and so move no money.
    pub empty: usize,
    /// What the shop's account history adds up to.
    pub totals: Totals,
    /// Operations of one run: accounts, invoices, payments.
    pub operations: usize,
    /// Requests of the first run, resent ones included.
    pub requests: usize,
    /// Replies that the relay dropped, in both runs.
    pub dropped: u64,
    /// Kills in the first run.
    pub kills: usize,
    /// Of the second run's operations, those answered as replays: all of them, or something is wrong.
    pub replayed: usize,
    /// Time of the first run.
    pub elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, invoices) = self.sales;
        let empty = self.empty;
        writeln!(f, "read       {lines} lines, {invoices} invoices ({empty} of them add up to nothing)")?;
        writeln!(
            f,
            "run        {} operations in {:.1?}, {} requests, {} replies dropped, server killed {} times",
            self.operations, self.elapsed, self.requests, self.dropped, self.kills
        )?;
        let (net, ordinary) = (pounds(self.totals.net()), pounds(self.totals.ordinary));
        writeln!(f, "the shop   {net} = {ordinary} - {}", pounds(self.totals.cancelled))?;
        write!(f, "run again  {} of {} operations replayed, nothing changed", self.replayed, self.operations)
    }
}

/// Thousandths of a pound as pounds.
fn pounds(thousandths: i64) -> String {
    let (sign, amount) = (if thousandths < 0 { "-" } else { "" }, thousandths.unsigned_abs());
    format!("{sign}{}.{:03}", amount / 1_000, amount % 1_000)
}

/// Replays the data against a server of its own, twice, and checks every balance.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn run(binary: &Path, data: &Path, seed: u64) -> io::Result<Report> {
    let sales = Sales::read(data)?;
    let dir = tempfile::tempdir()?;
    let launch = Launch::new(binary, &dir.path().join("data"))?;
    let began = Instant::now();
    let mut server = launch.start()?;
    let relay = Relay::start(launch.addr, FAULTS, seed)?;
    let steps = Steps::of(&sales);
    let mut first = send_all(relay.addr(), &steps.accounts, seed, &AtomicUsize::new(0))?;
    let kills_at = [steps.invoices.len() / 3, steps.invoices.len() * 2 / 3];
    let done = AtomicUsize::new(0);
    first += std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(relay.addr(), &steps.invoices, seed, &done));
        for place in kills_at {
            while done.load(Ordering::Relaxed) < place && !sending.is_finished() {
                std::thread::sleep(Duration::from_micros(200));
            }
            server = replace(&launch, &mut server)?;
        }
        sending.join().map_err(|_| io::Error::other("a sender panicked"))?
    })?;
    first += send_all(relay.addr(), &steps.payments, seed, &AtomicUsize::new(0))?;
    let elapsed = began.elapsed();
    let (balances, totals) = check(launch.addr, &sales)?;
    let mut again = Sent::default();
    for step in [&steps.accounts, &steps.invoices, &steps.payments] {
        again += send_all(relay.addr(), step, seed + 1, &AtomicUsize::new(0))?;
    }
    if check(launch.addr, &sales)?.0 != balances || again.replayed != again.operations {
        return Err(io::Error::other(format!("run again: {again:?}, or a balance moved")));
    }
    Ok(Report {
        sales: (sales.lines, sales.invoices.len()),
        empty: sales.invoices.iter().filter(|invoice| invoice.net == 0).count(),
        totals,
        operations: first.operations,
        requests: first.requests,
        dropped: relay.counts().dropped.load(Ordering::Relaxed),
        kills: kills_at.len(),
        replayed: again.replayed,
        elapsed,
    })
}

/// Kills the server and starts another on the same data.
fn replace(launch: &Launch, server: &mut Server) -> io::Result<Server> {
    server.kill_in_place()?;
    launch.start()
}

/// The requests of a replay. Each step needs what the one before it did.
struct Steps {
    accounts: Vec<Vec<u8>>,
    invoices: Vec<Vec<u8>>,
    payments: Vec<Vec<u8>>,
}

impl Steps {
    fn of(sales: &Sales) -> Self {
        let open = |id: &str| {
            // Anyone may be short for a while: invoices run at once, and are paid at the end.
            request("/v1/accounts", &format!("open/{id}"), &format!(r#"{{"id":"{id}","unit":"{UNIT}","floor":null}}"#))
        };
        let bills = sales.bills();
        let invoices = sales.invoices.iter().filter(|invoice| invoice.net != 0);
        Self {
            accounts: ["shop", "world"].into_iter().chain(bills.keys().copied()).map(open).collect(),
            invoices: invoices
                .map(|one| transfer(&format!("invoice/{}", one.number), &one.customer, "shop", one.net))
                .collect(),
            payments: bills
                .iter()
                .filter(|(_, owed)| **owed != 0)
                .map(|(customer, owed)| transfer(&format!("payment/{customer}"), "world", customer, *owed))
                .collect(),
        }
    }
}

/// A transfer; below zero it goes the other way.
fn transfer(key: &str, from: &str, to: &str, amount: i64) -> Vec<u8> {
    let (from, to) = if amount < 0 { (to, from) } else { (from, to) };
    let amount = amount.unsigned_abs();
    request("/v1/transfers", key, &format!(r#"{{"from":"{from}","to":"{to}","amount":{amount}}}"#))
}

fn request(path: &str, key: &str, body: &str) -> Vec<u8> {
    let mut request = Vec::with_capacity(256);
    http::put_post(&mut request, path, key, body.as_bytes());
    request
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    operations: usize,
    requests: usize,
    replayed: usize,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.requests += other.requests;
        self.replayed += other.replayed;
    }
}

/// Sends each request until it is definite, on many connections at once; all must be committed.
fn send_all(addr: SocketAddr, requests: &[Vec<u8>], seed: u64, done: &AtomicUsize) -> io::Result<Sent> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS as u64)
            .map(|number| {
                let next = &next;
                scope.spawn(move || -> io::Result<Sent> {
                    let mut client = Client::new(addr, Duration::from_secs(5));
                    let (mut rng, mut sent) = (Rng::with_seed(seed ^ number), Sent::default());
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (answer, times) = client.definite(request, &mut rng, PATIENCE)?;
                        if answer.status != 201 {
                            return Err(io::Error::other(answer.to_string()));
                        }
                        let is_replay = answer.header("idempotency-replayed") == Some("true");
                        sent += Sent { operations: 1, requests: times as usize, replayed: usize::from(is_replay) };
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(sent)
                })
            })
            .collect();
        let mut sent = Sent::default();
        for sender in senders {
            sent += sender.join().map_err(|_| io::Error::other("a sender panicked"))??;
        }
        Ok(sent)
    })
}

/// Checks every balance, and adds up the shop's history.
fn check(addr: SocketAddr, sales: &Sales) -> io::Result<(BTreeMap<String, i64>, Totals)> {
    let mut client = Client::new(addr, Duration::from_secs(10));
    let balances: BTreeMap<String, i64> = list(&mut client, "/v1/accounts?limit=1000")?
        .iter()
        .filter_map(|account| Some((account["id"].as_str()?.to_owned(), account["balance"].as_i64()?)))
        .collect();
    let net = sales.totals().net();
    let bills = sales.bills();
    for (id, balance) in &balances {
        let wanted = match id.as_str() {
            "shop" => net,
            "world" => -net,
            _ => 0,
        };
        if *balance != wanted {
            return Err(io::Error::other(format!("{id} has {balance}, not {wanted}")));
        }
    }
    if balances.len() != bills.len() + 2 {
        return Err(io::Error::other(format!("{} accounts for {} customers", balances.len(), bills.len())));
    }
    let mut totals = Totals::default();
    for line in list(&mut client, "/v1/accounts/shop/transfers?limit=1000")? {
        let amount = line["amount"].as_i64().unwrap_or_default();
        if line["to"] == "shop" { totals.ordinary += amount } else { totals.cancelled += amount }
    }
    if totals == sales.totals() {
        return Ok((balances, totals));
    }
    Err(io::Error::other(format!("the shop's history adds up to {totals:?}, the data to {:?}", sales.totals())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_or_refused() {
        for (price, expected) in [
            ("2.55", Some(2_550)),
            ("0.001", Some(1)),
            ("18", Some(18_000)),
            ("-11062.06", Some(-11_062_060)),
            ("3.3900", Some(3_390)),
            ("0.0001", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(thousandths(price), expected, "{price:?}");
        }
    }

    #[test]
    fn money_is_printed_as_pounds() {
        assert_eq!(pounds(3_706_827_641), "3706827.641");
        assert_eq!(pounds(-50), "-0.050");
    }

    #[test]
    fn lines_of_one_invoice_are_added_up_even_if_they_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day.csv");
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                    1,a,\"A, b\",2,x,1.005,17850.0,UK\n1,a,\"A, b\",2,x,1.005,17850.0,UK\nC2,a,A,-1,x,1.005,,UK\n";
        std::fs::write(&path, text).unwrap();
        let sales = Sales::read(&path).unwrap();
        assert_eq!(sales.lines, 3);
        assert_eq!(sales.totals(), Totals { ordinary: 4_020, cancelled: 1_005 });
        assert_eq!(sales.bills(), BTreeMap::from([("customer/17850", 4_020), ("guest", -1_005)]));
    }
}
