//! The rows about what the server does outside: calls, sagas, events, and what the call layers cost.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::house::{self, ACCOUNTS, House};
use super::rows::note_failures;
use super::{Figure, Row, Target};
use crate::call::Client;
use crate::handler::Handler;
use crate::load::{self, Outcome, Plan, Workload};
use crate::process::{Server, built_example};
use crate::workload::{Calls, Events, Pairs, Runs};

const MIB: f64 = (1_u64 << 20) as f64;

/// Connections of the rows that have requests answered.
const CONNECTIONS: usize = 64;

pub(super) fn calls(house: &mut House, row: &mut Row) -> io::Result<()> {
    let seed = house.next_seed();
    let (single, _) = house.transfers(CONNECTIONS, Pairs::Random(ACCOUNTS))?;
    // A server of its own: what it has in memory is for calls.
    house.close();
    let handler = Handler::start()?;
    let mut workload = Calls::new(handler.addr(), seed);
    let (outcome, cpu_us_each) = timed(house, &mut workload)?;
    let resident = house.server()?.resident_bytes()? as f64 / MIB;
    note_failures(row, &outcome);
    row.figures.push(Figure::note("calls", outcome.per_second(), "/s"));
    row.figures.push(Figure::note("p50", outcome.quantile_ms(0.5), "ms"));
    row.figures.push(Figure::aim("p99", outcome.quantile_ms(0.99), "ms", Target::Under(20.0)));
    row.figures.push(Figure::note("the server's processor time per call", cpu_us_each, "us"));
    row.figures.push(Figure::aim("resident", resident, "MiB", Target::Under(150.0)));
    row.figures.push(Figure::note("one transfer per request, 64 connections", single.per_second(), "/s"));
    let ratio = outcome.per_second() / single.per_second();
    row.figures.push(Figure::aim("against one transfer per request", ratio, "x", Target::AtLeast(0.25)));
    Ok(())
}

fn timed(house: &mut House, workload: &mut dyn Workload) -> io::Result<(Outcome, f64)> {
    let sizes = house.sizes();
    house::timed(house.server()?, sizes, CONNECTIONS, workload)
}

pub(super) fn sagas(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (single, _) = house.transfers(CONNECTIONS, Pairs::Random(ACCOUNTS))?;
    let handler = Handler::start()?;
    let call = json!({ "url": format!("http://{}/pay", handler.addr()), "body": { "amount": "${input.amount}" } });
    let hold = json!({ "from": "${input.from}", "to": "${input.to}", "amount": "${input.amount}" });
    let mixed = json!([
        { "id": "hold", "hold": hold, "compensate": { "void": true } },
        { "id": "pay", "call": call, "pivot": true },
        { "id": "capture", "capture": { "of": "hold" } },
    ]);
    let called = json!([{ "id": "a", "call": call }, { "id": "b", "call": call }, { "id": "c", "call": call }]);
    for (name, what, steps) in [("mixed", "hold, call, capture", mixed), ("called", "three calls", called)] {
        define(house.server()?, name, steps)?;
        let mut workload = Runs::new(name, Pairs::Random(ACCOUNTS), house.next_seed());
        let (outcome, cpu_us_each) = timed(house, &mut workload)?;
        note_failures(row, &outcome);
        row.figures.push(Figure::note(&format!("{what}: runs"), outcome.per_second(), "/s"));
        row.figures.push(Figure::note(&format!("{what}: p50"), outcome.quantile_ms(0.5), "ms"));
        row.figures.push(Figure::note(&format!("{what}: p99"), outcome.quantile_ms(0.99), "ms"));
        row.figures.push(Figure::note(&format!("{what}: the server's processor time per run"), cpu_us_each, "us"));
        let ratio = outcome.per_second() / single.per_second();
        row.figures.push(Figure::note(&format!("{what}: against one transfer per request"), ratio, "x"));
    }
    row.figures.push(Figure::note("one transfer per request, 64 connections", single.per_second(), "/s"));
    Ok(())
}

fn define(server: &Server, name: &str, steps: Value) -> io::Result<()> {
    let definition = json!({ "name": name, "output": {}, "steps": steps });
    let answer = client(server).put(&format!("/v1/sagas/{name}"), &format!("define/{name}"), &definition)?;
    if answer.status < 300 { Ok(()) } else { Err(io::Error::other(answer.to_string())) }
}

fn client(server: &Server) -> Client {
    Client::new(server.addr(), Duration::from_secs(10))
}

/// Webhooks that each event goes to.
const WEBHOOKS: usize = 10;

/// How long the last delivery may come after the last event.
const DELIVERED_S_MAX: u64 = 120;

pub(super) fn fan_out(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (events, seed) = (house.sizes().events, house.next_seed());
    house.close();
    let server = house.server()?;
    let mut receivers = Vec::new();
    for number in 0..WEBHOOKS {
        let receiver = Handler::start()?;
        let url = format!("http://{}/hook", receiver.addr());
        let (name, body) = (format!("hook-{number}"), json!({ "topics": ["orders"], "url": url, "start": "now" }));
        let answer = client(server).put(&format!("/v1/subscriptions/{name}"), &format!("subscribe/{name}"), &body)?;
        if answer.status >= 300 {
            return Err(io::Error::other(answer.to_string()));
        }
        receivers.push(receiver);
    }
    let (began, cpu) = (Instant::now(), server.cpu_us()?);
    let plan = Plan { requests_max: events, ..Plan::all(CONNECTIONS, 1) };
    let published = load::run(server.addr(), plan, &mut Events::new("orders", seed))?;
    let delivered = || receivers.iter().map(Handler::handled).sum::<u64>();
    let wanted = published.transfers * WEBHOOKS as u64;
    while delivered() < wanted {
        if began.elapsed() > published.elapsed + Duration::from_secs(DELIVERED_S_MAX) {
            return Err(io::Error::other(format!("{} of {wanted} deliveries in {:.1?}", delivered(), began.elapsed())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let seconds = began.elapsed().as_secs_f64();
    note_failures(row, &published);
    row.figures.push(Figure::note("events in the run", published.transfers as f64, ""));
    row.figures.push(Figure::note("events published, while they are delivered", published.per_second(), "/s"));
    row.figures.push(Figure::note("events delivered to all ten", published.transfers as f64 / seconds, "/s"));
    row.figures.push(Figure::note("deliveries", wanted as f64 / seconds, "/s"));
    let cpu_us_each = (server.cpu_us()? - cpu) as f64 / wanted.max(1) as f64;
    row.figures.push(Figure::note("the server's processor time per delivery", cpu_us_each, "us"));
    row.figures.push(Figure::note("deliveries beyond one for each", (delivered() - wanted) as f64, ""));
    Ok(())
}

pub(super) fn layers(house: &mut House, row: &mut Row) -> io::Result<()> {
    let example = built_example("tertium-call", "layer_cost")?;
    // Nothing else on the machine.
    house.close();
    let calls = if house.sizes().is_quick { "5000" } else { "50000" };
    let output = Command::new(example).arg(calls).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let [bare, stack, added] = layer_costs(&text).ok_or_else(|| io::Error::other(format!("no figures in: {text}")))?;
    row.figures.push(Figure::note("a bare hyper connection, both ends", bare, "us"));
    row.figures.push(Figure::note("the whole stack, both ends", stack, "us"));
    row.figures.push(Figure::note("the stack adds, per call", added, "us"));
    Ok(())
}

/// What a call costs in microseconds: over a bare connection, through the stack, and the difference; each the median of the
/// rounds that the example prints a line for.
fn layer_costs(text: &str) -> Option<[f64; 3]> {
    let costs = [(": bare ", ","), (", stack ", ";"), ("the stack adds ", " us per call")].map(|(before, after)| {
        let numbers = text.lines().filter_map(|line| line.split_once(before)?.1.split_once(after)?.0.parse().ok());
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied()
    });
    Some([costs[0]?, costs[1]?, costs[2]?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_round_is_the_figure() {
        let text = "round 1: bare 9.00, pool 9.50, transport 9.90, stack 11.00; the stack adds 2.00 us per call\n\
                    round 2: bare 8.00, pool 9.50, transport 9.90, stack 12.00; the stack adds 4.00 us per call\n\
                    round 3: bare 7.00, pool 9.50, transport 9.90, stack 10.00; the stack adds 3.00 us per call\n";
        assert_eq!(layer_costs(text), Some([8.0, 11.0, 3.0]));
        assert_eq!(layer_costs("round 1: bare 9.00, pool"), None);
    }
}
