//! A register, or one key of a map, whose states are only as many as its answers can tell apart.
//!
//! A value that no answer names, and that no text which an answer names begins with, is like every other such value: the
//! register is out of sight until the next write. So a state is a place in the answers' own values, and it does not
//! matter how long the texts are.

use std::sync::Arc;

use crate::history::Value;
use crate::search::Object;

#[derive(Clone, Debug)]
pub(crate) struct Register {
    sights: Arc<Sights>,
    state: u64,
}

/// The values that answers name, as bytes, sorted.
#[derive(Debug)]
pub(crate) struct Sights {
    values: Vec<Vec<u8>>,
    /// Whether some answer says what is *not* there: then it can be worth being out of sight.
    denies: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Access {
    Is(u64),
    IsNot(u64),
    Set(u64),
    Swap { from: u64, to: u64 },
    Append(Vec<u8>),
}

/// A state: how many bytes of which value, the first that begins with them.
const OUT_OF_SIGHT: u64 = u64::MAX;

impl Sights {
    /// `values` are those that answers name.
    pub(crate) fn new<'a>(values: impl Iterator<Item = &'a Value>, denies: bool) -> Self {
        // Nothing is always in sight: what is appended to it depends on it.
        let mut values: Vec<Vec<u8>> = values.chain([&Value::Nothing]).map(bytes_of).collect();
        values.sort_unstable();
        values.dedup();
        Self { values, denies }
    }

    pub(crate) fn state(&self, value: &Value) -> u64 {
        self.state_of(&bytes_of(value), &[])
    }

    pub(crate) fn append(&self, state: u64, text: &[u8]) -> u64 {
        match state {
            OUT_OF_SIGHT => OUT_OF_SIGHT,
            state if state == self.state(&Value::Nothing) => self.state_of(b"t", text),
            state => {
                let (value, bytes) = ((state >> 32) as usize, (state & 0xffff_ffff) as usize);
                self.state_of(&self.values[value][..bytes], text)
            }
        }
    }

    fn state_of(&self, head: &[u8], tail: &[u8]) -> u64 {
        let bytes = head.len() + tail.len();
        let at = self.values.partition_point(|value| value.iter().lt(head.iter().chain(tail)));
        let is_there = self.values.get(at).is_some_and(|value| {
            value.len() >= bytes && value.starts_with(head) && value[head.len()..].starts_with(tail)
        });
        if is_there { (at as u64) << 32 | bytes as u64 } else { OUT_OF_SIGHT }
    }
}

/// Values of different kinds are different, whatever their text is.
fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Nothing => b"n".to_vec(),
        Value::Truth(truth) => format!("b{truth}").into_bytes(),
        Value::Number(number) => format!("i{number}").into_bytes(),
        Value::Text(text) => format!("t{text}").into_bytes(),
    }
}

impl Register {
    pub(crate) fn new(sights: Arc<Sights>, initial: &Value) -> Self {
        let state = sights.state(initial);
        Self { sights, state }
    }
}

impl Object for Register {
    type Action = Access;
    type Undo = u64;

    fn is_observer(action: &Access) -> bool {
        matches!(action, Access::Is(_) | Access::IsNot(_))
    }

    fn fits(&self, action: &Access) -> bool {
        match action {
            Access::Is(state) => self.state == *state,
            Access::IsNot(state) => self.state != *state,
            Access::Set(_) | Access::Swap { .. } | Access::Append(_) => false,
        }
    }

    fn step(&mut self, action: &Access) -> Option<u64> {
        let next = match action {
            Access::Is(_) | Access::IsNot(_) => return self.fits(action).then_some(self.state),
            Access::Set(to) => *to,
            Access::Swap { from, to } if self.state == *from => *to,
            Access::Swap { .. } => return None,
            Access::Append(text) => self.sights.append(self.state, text),
        };
        Some(std::mem::replace(&mut self.state, next))
    }

    fn undo(&mut self, _action: &Access, undo: u64) {
        self.state = undo;
    }

    fn memo(&self) -> u64 {
        self.state
    }

    fn write_state(&self, words: &mut Vec<u64>) {
        words.push(self.state);
    }

    fn changes(before: u64, after: u64) -> bool {
        before != after
    }

    fn forgotten(&self) -> Option<Self> {
        None
    }

    fn is_forgotten(&self) -> bool {
        false
    }

    fn is_worth(&self) -> bool {
        self.sights.denies || self.state != OUT_OF_SIGHT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn states_are_what_answers_can_tell_apart() {
        let named = [text("ab"), text("abc"), text("b"), Value::Number(12), text("")];
        let sights = Sights::new(named.iter(), false);
        let state = |value: &Value| sights.state(value);
        let distinct = [text("ab"), text("abc"), text("b"), text("a"), text(""), Value::Number(12), Value::Nothing];
        for (i, one) in distinct.iter().enumerate() {
            assert_ne!(state(one), OUT_OF_SIGHT, "{one}");
            assert!(distinct[..i].iter().all(|other| state(other) != state(one)), "{one}");
        }
        for unseen in [text("c"), text("abcd"), Value::Truth(true), Value::Number(2), text("12")] {
            assert_eq!(state(&unseen), OUT_OF_SIGHT, "{unseen}");
        }
    }

    #[test]
    fn appending_is_a_way_through_the_states() {
        let named = [text("xyxy"), text("xyz")];
        let sights = Sights::new(named.iter(), false);
        let appended = |start: &Value, texts: &[&str]| {
            texts.iter().fold(sights.state(start), |state, text| sights.append(state, text.as_bytes()))
        };
        assert_eq!(appended(&Value::Nothing, &["xy", "xy"]), sights.state(&text("xyxy")));
        assert_eq!(appended(&text("x"), &["yz"]), sights.state(&text("xyz")));
        assert_eq!(appended(&text(""), &["x", "", "y"]), sights.state(&text("xy")));
        assert_eq!(appended(&text("x"), &["x", "yz"]), OUT_OF_SIGHT);
        assert_eq!(appended(&text("xyz"), &["z"]), OUT_OF_SIGHT);
    }
}
