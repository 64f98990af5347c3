//! A checkout over four real services, each a process with a database of its own, as runs of a saga: whatever is killed, lost
//! or doubled, in the end each order is either reserved, paid, shipped and told of once, or wholly undone, and stock and money
//! reconcile to the unit, in the four databases and in the cell's ledger.
//!
//! `TERTIUM_ORDERS` says how many orders (2,000), `TERTIUM_SEED` repeats a run's draws, `TERTIUM_BIN` names the server.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tertium_bench::call::Client;
use tertium_bench::process::release_binary;
use tertium_bench::relay::Faults;
use tertium_bench::retail;
use tertium_bench::shop::books::{Books, Reconciled};
use tertium_bench::shop::checkout;
use tertium_bench::shop::order::{Supplies, orders};
use tertium_bench::shop::postman::Postman;
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
    // Each buyer was told through a relay; and of what was done each step was answered through one, of what was not at least
    // the refusal: of so many replies, and the requests before them, each was drawn for by itself, and more were, for what
    // was sent again.
    let drawn = sum.done as u64 * 5 + sum.undone as u64 * 2;
    for (what, count, chance) in
        [("dropped", harm.dropped, FAULTS.drop_reply), ("doubled", harm.duplicated, FAULTS.duplicate)]
    {
        let least = least_of(drawn, chance);
        assert!(count >= least, "{count} {what} of {drawn} at least, where {least} were to be expected: {harm:?}");
    }
}

/// The most of which one may rely on at least so many of `draws` to hit, each with this chance: fewer come once in a
/// thousand million runs. Summed up from the binomial distribution.
fn least_of(draws: u64, chance: f64) -> u64 {
    const BY_CHANCE: f64 = 1e-9;
    let (draws, odds) = (draws as f64, chance / (1.0 - chance));
    // That exactly so many hit, and that fewer do.
    let (mut exactly, mut fewer, mut hits) = ((1.0 - chance).powf(draws), 0.0, 0_u64);
    while hits < draws as u64 && fewer + exactly <= BY_CHANCE {
        fewer += exactly;
        exactly *= (draws - hits as f64) / (hits as f64 + 1.0) * odds;
        hits += 1;
    }
    hits
}

#[test]
fn how_many_may_be_relied_on() {
    // Few draws promise nothing, and whatever happens is all right; many come close to their mean.
    for (draws, chance, expected) in [(0, 0.03, 0), (100, 0.03, 0), (10, 1.0 - 1e-12, 10)] {
        assert_eq!(least_of(draws, chance), expected, "{draws} of {chance}");
    }
    let (small, large) = (least_of(1_350, 0.03), least_of(9_000, 0.03));
    assert!((1..25).contains(&small) && (160..220).contains(&large), "{small} of 40.5, {large} of 270");
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

/// A step that a person vouched for is to be undone before its request arrives: the service does not know of it and says so,
/// nobody says that it was undone, and what comes late is not done.
#[test]
fn a_step_that_a_person_vouched_for_and_that_comes_later_is_barred() {
    let supplies =
        Supplies { levels: BTreeMap::from([("a".to_owned(), 5)]), purses: BTreeMap::from([("ann".to_owned(), 5)]) };
    let bench = Path::new(env!("CARGO_BIN_EXE_tertium-bench")).to_owned();
    let faults = Faults { drop_reply: 0.0, duplicate: 0.0, ..FAULTS };
    let plan = Plan { tertium: release_binary().unwrap(), bench, with_inbox: true, faults, seed: 7 };
    let (street, postman) = (Street::open(&plan, &supplies).unwrap(), Postman::start().unwrap());
    let (stock, payment) = (street.service(Trade::Stock), street.service(Trade::Payment));
    let order = json!({ "order": "late", "items": { "a": 2 } });
    let definition = json!({
        "name": "late",
        "steps": [
            {
                "id": "reserve",
                "call": { "url": format!("http://{}/reservations", postman.addr()), "body": order, "on_uncertain": "escalate" },
                "attempts_max": 1,
                "compensate": { "call": { "url": format!("http://{stock}/reservations/release"), "body": { "order": "late" } } },
            },
            // More than there is in the purse.
            { "id": "charge", "call": { "url": format!("http://{payment}/charges"), "on_uncertain": "resend",
                "body": { "order": "late", "customer": "ann", "amount": 6 } } },
        ],
    });
    let mut client = Client::new(street.cell(), Duration::from_secs(15));
    assert_eq!(client.put("/v1/sagas/late", "define", &definition).unwrap().status, 201);
    let told = client.post("/v1/sagas/late/runs", "late", b"").unwrap();
    assert_eq!(told.code(), "run-escalated", "{told}");
    let uncertain = client.get("/v1/uncertain").unwrap().json();
    let call = uncertain["items"][0]["id"].as_str().expect("nobody knows what became of the step").to_owned();
    let decree = json!({ "outcome": "committed", "by": "ann", "note": "it looked so" });
    let resolved = client.post_with(&format!("/v1/uncertain/{call}/resolve"), "resolve", &[], &decree).unwrap();
    assert_eq!(resolved.status, 200, "{resolved}");
    let run = told.json()["run"]["id"].as_str().unwrap().to_owned();
    let from = json!({ "from": "reserve" });
    let restarted = client.post_with(&format!("/v1/runs/{run}/restart"), "restart", &[], &from).unwrap();
    assert_eq!(restarted.status, 200, "{restarted}");
    let ended = client.get(&format!("/v1/runs/{run}?wait_ms=14000")).unwrap().json();
    assert_eq!((&ended["state"], &ended["failed_step"]), (&"escalated".into(), &"charge".into()), "{ended}");
    assert_eq!(ended["steps"][0]["state"], "escalated", "{ended}");

    let late = postman.deliver(stock).unwrap();
    assert_eq!((late.status, &*late.code()), (409, "operation-barred"), "{late}");
    let books = street.books().unwrap();
    assert_eq!(books.reservations, [], "nothing is set aside for an order that there is not");
    assert_eq!(books.levels, supplies.levels);
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
