//! W3C trace context and baggage: what came in is sent on, within bounds; what is malformed is as if it had not come.

use std::collections::BTreeSet;
use std::fmt;

/// The most members of a `tracestate` (W3C Trace Context, section 3.3.1.1).
const STATE_MEMBERS_MAX: usize = 32;
/// The bytes of a `tracestate` that are sent on (section 3.3.1.5).
const STATE_BYTES_MAX: usize = 512;
/// Longer members go first where it is longer than that (section 3.5).
const STATE_MEMBER_BYTES_KEPT: usize = 128;
/// The members of a `baggage` that are sent on (W3C Baggage, section 3.3.2).
const BAGGAGE_MEMBERS_MAX: usize = 64;
/// Its bytes that are (the same section).
const BAGGAGE_BYTES_MAX: usize = 8_192;

/// The `traceparent` header (W3C Trace Context, level 1, section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    /// Names the whole trace; never zero.
    pub trace_id: [u8; 16],
    /// Names the caller's span; never zero.
    pub parent_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceParent {
    /// Reads the header; `None` where it is not valid, and then a new trace is to be started.
    ///
    /// A version that is not known is read like version 00, as far as that reaches.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<55>()?;
        let [version] = hex(&head[..2])?;
        let is_version_00 = version == 0;
        let has_separators = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        let ends_well = rest.is_empty() || (!is_version_00 && rest[0] == b'-');
        if version == 0xff || !has_separators || !ends_well {
            return None;
        }
        let (trace_id, parent_id, [flags]) = (hex(&head[3..35])?, hex(&head[36..52])?, hex(&head[53..55])?);
        let is_valid = trace_id != [0; 16] && parent_id != [0; 8];
        is_valid.then_some(Self { trace_id, parent_id, flags })
    }

    /// The trace id in hexadecimal, as logs show it.
    pub fn trace_id_hex(&self) -> String {
        self.trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same trace with another span as the parent.
    #[must_use]
    pub const fn with_parent(self, parent_id: [u8; 8]) -> Self {
        Self { parent_id, ..self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.parent_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", self.flags)
    }
}

/// What a request says of the trace it is part of, to be sent on with what it starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace, and the span that starts something.
    pub parent: TraceParent,
    /// `tracestate`, or empty.
    pub state: String,
    /// `baggage`, or empty.
    pub baggage: String,
}

impl TraceContext {
    /// The headers that carry it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let state = [("tracestate", &self.state), ("baggage", &self.baggage)];
        let state = state.into_iter().filter(|(_, value)| !value.is_empty());
        std::iter::once(("traceparent", self.parent.to_string()))
            .chain(state.map(|(name, value)| (name, value.clone())))
    }

    /// How much of memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.state.len() + self.baggage.len()
    }
}

/// The `tracestate` to send on, of all headers of that name, in order; empty where there is none, or one is malformed.
pub fn tracestate<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let (mut members, mut keys) = (Vec::new(), BTreeSet::new());
    for member in members_of(values) {
        let Some(member) = member else { return String::new() };
        let Some((key, value)) = member.split_once('=') else { return String::new() };
        if !is_state_key(key) || !is_state_value(value) || !keys.insert(key) || keys.len() > STATE_MEMBERS_MAX {
            return String::new();
        }
        members.push(member);
    }
    let bytes = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    if bytes(&members) > STATE_BYTES_MAX {
        members.retain(|member| member.len() <= STATE_MEMBER_BYTES_KEPT);
    }
    while bytes(&members) > STATE_BYTES_MAX {
        members.pop();
    }
    members.join(",")
}

/// The `baggage` to send on, likewise. Members that are malformed are left out, and those beyond the bounds.
pub fn baggage<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    let members = members_of(values).flatten().filter(|member| is_baggage(member));
    for member in members.take(BAGGAGE_MEMBERS_MAX) {
        if out.len() + 1 + member.len() > BAGGAGE_BYTES_MAX {
            break;
        }
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(member);
    }
    out
}

/// What stands between the commas; `None` for what is not ASCII. Empty members say nothing.
fn members_of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = Option<&'a str>> {
    values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')).filter_map(|member| {
        let member = member.trim_ascii();
        (!member.is_empty()).then(|| std::str::from_utf8(member).ok().filter(|text| text.is_ascii()))
    })
}

fn is_state_key(key: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins_well = key.as_bytes().first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins_well && key.len() <= 256 && key.bytes().all(is_inner)
}

fn is_state_value(value: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_inner)
}

/// `key=value`, and perhaps properties behind semicolons.
fn is_baggage(member: &str) -> bool {
    let Some((key, _)) = member.split_once('=') else { return false };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_inner = |byte: u8| matches!(byte, b' ' | b'\t' | 0x21..=0x7e) && byte != b'"' && byte != b'\\';
    let key = key.trim_end_matches([' ', '\t']);
    !key.is_empty() && key.bytes().all(is_token) && member.bytes().all(is_inner)
}

/// Lower case only, as the standard says.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(text.as_bytes()).unwrap();
        assert_eq!((parent.to_string().as_str(), parent.flags), (text, 1));
        assert_eq!(parent.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = text.replacen("00", "cc", 1) + "-what-comes-later";
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn states() {
        let check = |values: &[&str], expect: &str| {
            assert_eq!(tracestate(values.iter().map(|value| value.as_bytes())), expect, "{values:?}");
        };
        check(&[], "");
        check(&["a=1, b=2 ,,c/d@e=x y"], "a=1,b=2,c/d@e=x y");
        check(&["a=1", "b=2"], "a=1,b=2");
        for malformed in ["a", "A=1", "a=1,a=2", "a=", "a=1=2", "=1", "a=\u{e9}", "-a=1"] {
            check(&[malformed], "");
        }
        let many = |count: usize| (0..count).map(|at| format!("k{at}=1")).collect::<Vec<_>>().join(",");
        check(&[&many(32)], &many(32));
        check(&[&many(33)], "");
        let (long, short) = (format!("l={}", "x".repeat(198)), format!("s={}", "x".repeat(100)));
        check(&[&format!("{long},m{long},a=1,{short}")], &format!("{long},m{long},a=1,{short}"));
        check(&[&format!("{long},m{long},a=1,{short},t{short}")], &format!("a=1,{short},t{short}"));
        let shorts: Vec<String> = (0..9).map(|at| format!("k{at}{short}")).collect();
        check(&[&shorts.join(",")], &shorts[..4].join(","));
    }

    #[test]
    fn bags() {
        let check = |value: &str, expect: &str| assert_eq!(baggage([value.as_bytes()]), expect, "{value}");
        check("user=ada;secure, cart = 17 ,", "user=ada;secure,cart = 17");
        check("user=\u{e9},a=1,no,=x,b c=2,q=\"x\"", "a=1");
        let many = |count: usize| (0..count).map(|at| format!("k{at}=1")).collect::<Vec<_>>().join(",");
        check(&many(65), &many(64));
        check(&format!("a=1,b={}", "x".repeat(8_192)), "a=1");
    }

    proptest! {
        #[test]
        fn what_is_sent_on_is_within_bounds_and_sent_on_as_it_is(text in "[a-c=;, x]{0,80}", long in "[a-z=,]{0,9000}") {
            for text in [text, long] {
                let (state, bag) = (tracestate([text.as_bytes()]), baggage([text.as_bytes()]));
                prop_assert!(state.len() <= STATE_BYTES_MAX && bag.len() <= BAGGAGE_BYTES_MAX);
                prop_assert_eq!(tracestate([state.as_bytes()]), state);
                prop_assert_eq!(baggage([bag.as_bytes()]), bag);
            }
        }

        #[test]
        fn round_trip(trace_id in prop::array::uniform16(1u8..), parent_id in prop::array::uniform8(1u8..), flags: u8) {
            let parent = TraceParent { trace_id, parent_id, flags };
            prop_assert_eq!(TraceParent::parse(parent.to_string().as_bytes()), Some(parent));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceParent::parse(&bytes);
        }
    }
}
