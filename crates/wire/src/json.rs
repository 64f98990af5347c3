//! Writes JSON for strangers: by hand, since this runs once for every item of every batch.
//!
//! Numbers above 2^53-1 leave as decimal strings, because readers that keep numbers as doubles would round them in
//! silence (RFC 8259, section 6).

/// The largest integer that leaves, and may come in, as a JSON number: 2^53 - 1.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Appends a JSON string.
pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    put_escaped(out, text);
    out.push(b'"');
}

/// Appends a text as the inside of a JSON string.
pub(crate) fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 0xf)]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends a JSON string of a text that cannot hold anything to escape: an id, a fixed word.
pub(crate) fn put_plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends a JSON string, or `null` for an empty text.
pub(crate) fn put_str_or_null(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        put_str(out, text);
    }
}

/// Appends what is JSON already, or `null` for an empty text.
pub(crate) fn put_json_or_null(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(if json.is_empty() { b"null" } else { json.as_bytes() });
}

/// Appends a number in plain decimal.
pub(crate) fn put_u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends an amount: a JSON integer up to 2^53-1, above that a decimal string.
pub(crate) fn put_amount(out: &mut Vec<u8>, units: u128) {
    match u64::try_from(units) {
        Ok(small) if small <= JSON_INTEGER_MAX => put_u64(out, small),
        _ => put_plain(out, itoa::Buffer::new().format(units)),
    }
}

/// Appends a balance: a JSON integer from -(2^53-1) to 2^53-1, beyond that a decimal string.
pub(crate) fn put_balance(out: &mut Vec<u8>, units: i128) {
    match i64::try_from(units) {
        Ok(small) if small.unsigned_abs() <= JSON_INTEGER_MAX => {
            out.extend_from_slice(itoa::Buffer::new().format(small).as_bytes());
        }
        _ => put_plain(out, itoa::Buffer::new().format(units)),
    }
}

/// For each byte: 0 if it stands for itself in a JSON string, else the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x08] = b'b';
    table[0x0c] = b'f';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Byte for byte what serde_json writes.
        #[test]
        fn strings_as_serde_json_writes_them(text: String, control in "[\\x00-\\x7f]{0,20}") {
            for text in [text, control] {
                let mut out = Vec::new();
                put_str(&mut out, &text);
                prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
            }
        }
    }

    #[test]
    fn numbers_change_their_form_above_two_to_the_53() {
        let amount = |units| {
            let mut out = Vec::new();
            put_amount(&mut out, units);
            String::from_utf8(out).unwrap()
        };
        let balance = |units| {
            let mut out = Vec::new();
            put_balance(&mut out, units);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(amount(0), "0");
        assert_eq!(amount((1 << 53) - 1), "9007199254740991");
        assert_eq!(amount(1 << 53), "\"9007199254740992\"");
        assert_eq!(amount(i128::MAX as u128), "\"170141183460469231731687303715884105727\"");
        assert_eq!(balance(-((1 << 53) - 1)), "-9007199254740991");
        assert_eq!(balance(-(1 << 53)), "\"-9007199254740992\"");
        assert_eq!(balance(i128::MIN), "\"-170141183460469231731687303715884105728\"");
    }
}
