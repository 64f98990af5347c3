//! Sagas as clients define them: drawn steps of every kind, in a row and beside each other, with what undoes each.

use fastrand::Rng;
use saga::Definition;
use serde_json::{Value, json};

use crate::client::{ACCOUNTS, account_name};

/// How many sagas a world has. A nested step starts one further on, so that there is an end to it.
pub(crate) const SAGAS: usize = 4;

/// The topics that clients and sagas publish in.
pub(crate) const TOPICS: [&str; 2] = ["orders", "notes"];

/// The keys that events have.
pub(crate) const EVENT_KEYS: [&str; 4] = ["", "a", "b", "c"];

/// What a saga is called.
pub(crate) fn saga_name(n: usize) -> String {
    format!("saga-{n}")
}

/// The accounts that count pieces instead of money.
pub(crate) fn stock_name(n: u64) -> String {
    format!("stock-{n}")
}

/// How many of them there are. The first has no floor.
pub(crate) const STOCKS: u64 = 3;

/// Draws a definition of the saga of that number.
pub(crate) fn draw(rng: &mut Rng, n: usize, receivers: u64) -> Definition {
    let mut drawer = Drawer { rng, saga: n, receivers, steps: 0, has_pivot: false, holds: Vec::new() };
    let mut steps = Vec::new();
    for _ in 0..drawer.rng.usize(1..4) {
        let item = match drawer.rng.u32(0..4) {
            0 => {
                let beside: Vec<Value> = (0..drawer.rng.usize(2..4)).map(|_| drawer.step()).collect();
                json!({ "parallel": beside })
            }
            _ => drawer.step(),
        };
        steps.push(item);
    }
    let deadline_ms = drawer.rng.u64(1_000..15_000);
    let mut document = json!({ "name": saga_name(n), "deadline_ms": deadline_ms, "steps": steps });
    if drawer.rng.bool() {
        document["output"] = json!({ "run": "${run.id}" });
    }
    Definition::of_document(document.clone()).unwrap_or_else(|error| panic!("{document} is drawn right: {error:?}"))
}

struct Drawer<'r> {
    rng: &'r mut Rng,
    saga: usize,
    receivers: u64,
    steps: usize,
    has_pivot: bool,
    /// The holds that no step has captured yet.
    holds: Vec<String>,
}

impl Drawer<'_> {
    fn step(&mut self) -> Value {
        let id = format!("s{}", self.steps);
        self.steps += 1;
        let mut step = match self.rng.u32(0..12) {
            0..5 => self.call(),
            5..7 => self.transfer(),
            7 => self.hold(&id),
            8 => self.event(),
            9 => json!({ "timer": { "for_ms": self.rng.u64(1..1_500) } }),
            10 if self.saga + 1 < SAGAS => json!({ "saga": { "name": saga_name(self.saga + 1) } }),
            _ => self.capture(),
        };
        step["id"] = json!(id);
        step["timeout_ms"] = json!(self.rng.u64(300..4_000));
        if step.get("call").is_none() {
            step["attempts_max"] = json!(self.rng.u64(1..4));
        }
        if !self.has_pivot && self.rng.u32(0..6) == 0 {
            self.has_pivot = true;
            step["pivot"] = json!(true);
        }
        if let Some(compensation) = step.get_mut("compensate") {
            compensation["timeout_ms"] = json!(self.rng.u64(2_000..8_000));
            if self.rng.bool() {
                step["compensate_after_pivot"] = json!(true);
            }
        }
        step
    }

    /// A call, and one more to the same receiver that undoes it.
    fn call(&mut self) -> Value {
        let url = format!("http://receiver-{}", self.rng.u64(..self.receivers));
        let uncertain_ms_max = self.rng.u64(1_000..3_000);
        let mut call = json!({ "url": url, "body": { "run": "${run.id}" }, "uncertain_ms_max": uncertain_ms_max });
        match self.rng.u32(0..6) {
            0 => call["on_uncertain"] = json!("escalate"),
            1 | 2 => call["probe"] = json!({ "url": format!("{url}/probe") }),
            _ => {}
        }
        call["persistent"] = json!(self.rng.bool());
        let undo = json!({ "url": url, "uncertain_ms_max": uncertain_ms_max, "persistent": self.rng.bool() });
        match self.rng.u32(0..5) {
            0 => json!({ "call": call }),
            _ => json!({ "call": call, "compensate": { "call": undo } }),
        }
    }

    /// Money or pieces, from one account to another.
    fn order(&mut self) -> Value {
        let name: fn(u64) -> String = if self.rng.u32(0..3) == 0 { stock_name } else { account_name };
        let of = if name(0) == stock_name(0) { STOCKS } else { ACCOUNTS };
        // The one without a floor gives more often than not, so that there is something to move.
        let from = if self.rng.u32(0..3) > 0 { 0 } else { self.rng.u64(..of) };
        let to = (from + self.rng.u64(1..of)) % of;
        json!({ "from": name(from), "to": name(to), "amount": self.rng.u64(1..60) })
    }

    fn transfer(&mut self) -> Value {
        json!({ "transfer": self.order(), "compensate": { "reverse": true } })
    }

    fn hold(&mut self, id: &str) -> Value {
        let mut order = self.order();
        order["hold_ms"] = json!(self.rng.u64(200..9_000));
        self.holds.push(id.to_owned());
        json!({ "hold": order, "compensate": { "void": true } })
    }

    /// Posts what an earlier step holds; a step of its own if there is none.
    fn capture(&mut self) -> Value {
        match self.holds.pop() {
            Some(of) => json!({ "capture": { "of": of }, "after": [of], "compensate": { "reverse": true } }),
            None => self.transfer(),
        }
    }

    fn event(&mut self) -> Value {
        let (topic, key) = (TOPICS[self.rng.usize(..TOPICS.len())], EVENT_KEYS[self.rng.usize(..EVENT_KEYS.len())]);
        let mut event = json!({ "topic": topic, "type": "saga.told", "data": { "run": "${run.id}" } });
        if !key.is_empty() {
            event["key"] = json!(key);
        }
        json!({ "event": event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_right_and_of_every_kind() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut rng = Rng::with_seed(seed);
            let definition = draw(&mut rng, seed as usize % SAGAS, 3);
            kinds.extend(definition.plan().steps.iter().map(|step| step.kind.as_str()));
        }
        let all = ["call", "capture", "event", "hold", "saga", "timer", "transfer"];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    }
}
