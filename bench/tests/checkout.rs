//! A checkout over four real services, each a process with a database of its own, as runs of a saga: whatever is killed, lost
//! or doubled, in the end each order is either reserved, paid, shipped and told of once, or wholly undone, and stock and money
//! reconcile to the unit, in the four databases and in the cell's ledger.
//!
//! `TERTIUM_ORDERS` says how many orders (2,000), `TERTIUM_SEED` repeats a run's draws, `TERTIUM_BIN` names the server.

use std::io;
use std::path::Path;
use std::time::Instant;

use tertium_bench::process::release_binary;
use tertium_bench::relay::Faults;
use tertium_bench::retail;
use tertium_bench::shop::books::{Books, Reconciled};
use tertium_bench::shop::checkout;
use tertium_bench::shop::order::{Supplies, orders};
use tertium_bench::shop::street::{Harm, Plan, Street, Victim};
use tertium_bench::shop::trade::Trade;

const FAULTS: Faults = Faults { drop_reply: 0.03, duplicate: 0.03, delay: 0.0, delay_ms_max: 0 };

/// Each of the five this often.
const STRIKES_EACH: usize = 3;

const VICTIMS: [Victim; 5] = [
    Victim::Service(Trade::Stock),
    Victim::Cell,
    Victim::Service(Trade::Payment),
    Victim::Service(Trade::Shipping),
    Victim::Service(Trade::Notification),
];

#[test]
fn every_order_is_whole_or_wholly_undone() {
    let count = number("TERTIUM_ORDERS").unwrap_or(2_000);
    let seed = number("TERTIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let again = format!("TERTIUM_SEED={seed} TERTIUM_ORDERS={count}");
    println!("{again}");
    let Outcome { found, undone, harm } = run(count as usize, seed, true, &VICTIMS.repeat(STRIKES_EACH))
        .unwrap_or_else(|error| panic!("{again}: {error}"));
    let sum = found.unwrap_or_else(|findings| {
        panic!("{again}: {} findings, such as\n{}", findings.len(), findings[..findings.len().min(20)].join("\n"))
    });
    println!("{sum}");
    assert_eq!(sum.done + sum.undone, count as usize);
    assert!(sum.done > sum.undone && sum.undone > 0, "{sum}: too few of one kind to mean anything");
    println!("{undone:?} pieces and thousandths of a pound were given back on the way");
    assert!(undone.0 > 0 && undone.1 > 0, "{undone:?}: nothing was undone");
    assert!(harm.dropped > 50 && harm.duplicated > 50, "{harm:?}: too little to mean anything");
}

/// What the inbox is for: without it, the same losses and doublings are found in the books.
#[test]
fn without_the_inbox_the_books_do_not_reconcile() {
    let Outcome { found, harm, .. } = run(150, 7, false, &[]).unwrap();
    let findings = found.expect_err(&format!("orders were done more than once, as {harm:?} came"));
    let is_doubled = |finding: &&String| finding.contains(" times, not 1: ") && !finding.contains(" 0 times");
    let doubled = findings.iter().filter(is_doubled).count();
    println!("{harm:?}: {} findings, {doubled} of them doubled", findings.len());
    assert!(doubled > 0, "{findings:?}");
}

struct Outcome {
    found: Result<Reconciled, Vec<String>>,
    /// Pieces and money that were given back.
    undone: (i64, i64),
    harm: Harm,
}

fn run(count: usize, seed: u64, with_inbox: bool, victims: &[Victim]) -> io::Result<Outcome> {
    let data = retail::data();
    let orders = orders(&data, count)?;
    // Without the inbox nothing may run out: what was asked for twice could be done and refused, and nobody would know.
    let supplies = if with_inbox { Supplies::nearly_enough(&orders) } else { Supplies::enough_for(&orders, 10) };
    let bench = Path::new(env!("CARGO_BIN_EXE_tertium-bench")).to_owned();
    let plan = Plan { tertium: release_binary()?, bench, with_inbox, faults: FAULTS, seed };
    let mut street = Street::open(&plan, &supplies)?;
    checkout::prepare(&street)?;
    let began = Instant::now();
    let told = checkout::run(&mut street, &orders, victims, seed)?;
    let harm = street.harm();
    println!(
        "{}: {count} orders in {:.1?}, {} kills, {} replies dropped, {} requests doubled",
        data.display(),
        began.elapsed(),
        victims.len(),
        harm.dropped,
        harm.duplicated
    );
    let open = checkout::left_open(&street)?;
    assert!(open.is_empty(), "each buyer was told, and yet: {open:?}");
    let books = Books { sales: Some(checkout::sales(&street)?), ..street.books()? };
    Ok(Outcome { found: books.reconcile(&supplies, &orders, &told), undone: books.undone, harm })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
