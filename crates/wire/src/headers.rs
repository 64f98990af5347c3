//! Request headers. Values come as bytes, since that is what they are until someone has looked.

use words::{DEADLINE_MS_MAX, Deadline, Key, Session, WirePosition};

use crate::codes::Code;
use crate::problem::Problem;

/// How fresh a read must be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// At least what was decided before the read came in, anywhere.
    #[default]
    Linearizable,
    /// At least what `Tertium-Session` has seen.
    Session,
    /// At most this old.
    Bounded {
        /// The largest staleness that is still good enough.
        staleness_ms_max: u64,
    },
    /// Whatever is there.
    Eventual,
    /// As it stood at this position.
    At(WirePosition),
}

/// The key in `Idempotency-Key`, of which `values` are all that came.
///
/// A structured-field string (RFC 9651, section 3.3.3) in double quotes, or the bare text.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`.
pub fn idempotency_key<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Key, Problem> {
    let invalid = |what: &dyn std::fmt::Display| Problem::field(Code::IdempotencyKeyInvalid, "Idempotency-Key", what);
    let mut values = values.into_iter();
    let value = values.next().ok_or_else(|| Problem::of(Code::IdempotencyKeyMissing))?;
    if values.next().is_some() {
        return Err(invalid(&"is sent once"));
    }
    let text = std::str::from_utf8(value)
        .map_err(|_| invalid(&"a key is made of visible ASCII characters"))?
        .trim_matches([' ', '\t']);
    if text.is_empty() {
        return Err(Problem::of(Code::IdempotencyKeyMissing));
    }
    let key =
        match text.strip_prefix('"') {
            Some(quoted) => Key::new(&unquote(quoted).ok_or_else(|| {
                invalid(&"a quoted key ends with a double quote and escapes only \\\" and \\\\ inside")
            })?),
            None => Key::new(text),
        };
    key.map_err(|error| invalid(&error))
}

/// The inside of a structured-field string whose opening quote is gone already; `None` if it is not one.
fn unquote(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(text),
            '\\' => text.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            plain => text.push(plain),
        }
    }
}

/// The key as a structured-field string, for whoever sends one.
pub fn quote_key(key: &str) -> String {
    let mut quoted = String::with_capacity(key.len() + 2);
    quoted.push('"');
    for character in key.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// What remains until the deadline in `X-Request-Deadline`: remaining time, or an RFC 3339 instant that is compared
/// with `now_micros` (since 1970). An instant in the past leaves nothing; no header leaves the default.
///
/// # Errors
/// `deadline-invalid`.
pub fn deadline(value: Option<&[u8]>, now_micros: u64) -> Result<Deadline, Problem> {
    let invalid = |what: &dyn std::fmt::Display| Problem::field(Code::DeadlineInvalid, "X-Request-Deadline", what);
    let Some(value) = value else { return Ok(Deadline::default()) };
    let text = ascii(value).ok_or_else(|| invalid(&"is ASCII"))?;
    let instant = match Deadline::parse(text) {
        Ok(deadline) => return Ok(deadline),
        Err(error) => match text.parse::<jiff::Timestamp>() {
            Ok(instant) => instant,
            Err(_) => return Err(invalid(&format_args!("{error}, or an RFC 3339 instant"))),
        },
    };
    let at_micros = u64::try_from(instant.as_microsecond()).unwrap_or(0);
    let remaining_ms = at_micros.saturating_sub(now_micros) / 1_000;
    Deadline::from_ms(remaining_ms).map_err(|error| invalid(&error))
}

/// What remains according to `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Request-Headers"). More
/// than an hour counts as an hour, since gRPC clients that never give up send the largest number they can.
///
/// # Errors
/// `deadline-invalid`.
pub fn grpc_timeout(value: Option<&[u8]>) -> Result<Deadline, Problem> {
    let invalid =
        || Problem::field(Code::DeadlineInvalid, "grpc-timeout", "is 1 to 8 digits and a unit, one of H M S m u n");
    let Some(value) = value else { return Ok(Deadline::default()) };
    let (unit, digits) = value.split_last().ok_or_else(invalid)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let count = digits.iter().fold(0u64, |n, digit| n * 10 + u64::from(digit - b'0'));
    let ms = match unit {
        b'H' => count * 3_600_000,
        b'M' => count * 60_000,
        b'S' => count * 1_000,
        b'm' => count,
        b'u' => count.div_ceil(1_000),
        b'n' => count.div_ceil(1_000_000),
        _ => return Err(invalid()),
    };
    Deadline::from_ms(ms.min(DEADLINE_MS_MAX)).map_err(|_| invalid())
}

/// The session in `Tertium-Session`; a new one if there is no header.
///
/// # Errors
/// `session-invalid`.
pub fn session(value: Option<&[u8]>) -> Result<Session, Problem> {
    let Some(value) = value else { return Ok(Session::default()) };
    let invalid = |what: &dyn std::fmt::Display| Problem::field(Code::SessionInvalid, "Tertium-Session", what);
    let text = ascii(value).ok_or_else(|| invalid(&"is ASCII"))?;
    Session::parse(text).map_err(|error| invalid(&error))
}

/// The level in `Tertium-Consistency`; `None` if there is no header.
///
/// # Errors
/// `consistency-invalid`.
pub fn consistency(value: Option<&[u8]>) -> Result<Option<Consistency>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let invalid = || {
        let what = "is one of linearizable, session, bounded=<ms>, eventual, at=<cell>:<epoch>:<index>";
        Problem::field(Code::ConsistencyInvalid, "Tertium-Consistency", what)
    };
    let text = ascii(value).ok_or_else(invalid)?;
    Ok(Some(match text.split_once('=') {
        None => match text {
            "linearizable" => Consistency::Linearizable,
            "session" => Consistency::Session,
            "eventual" => Consistency::Eventual,
            _ => return Err(invalid()),
        },
        Some(("bounded", ms)) if !ms.is_empty() && ms.bytes().all(|byte| byte.is_ascii_digit()) => {
            Consistency::Bounded { staleness_ms_max: ms.parse().map_err(|_| invalid())? }
        }
        Some(("at", position)) => Consistency::At(WirePosition::parse(position).map_err(|_| invalid())?),
        Some(_) => return Err(invalid()),
    }))
}

/// Whether one of the `Prefer` headers holds `respond-async`. What else is in them is ignored (RFC 7240, section 2).
pub fn prefers_async<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> bool {
    values.into_iter().any(|value| {
        value.split(|byte| *byte == b',').any(|preference| {
            let token = preference.split(|byte| *byte == b';').next().unwrap_or_default();
            token.trim_ascii().eq_ignore_ascii_case(b"respond-async")
        })
    })
}

/// What a body claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/x-ndjson`.
    Ndjson,
}

/// The media type in `Content-Type`, parameters ignored; no header counts as JSON where the body is empty.
///
/// # Errors
/// `unsupported-media-type`.
pub fn content_type(value: Option<&[u8]>, body_is_empty: bool) -> Result<Media, Problem> {
    let unsupported = |what: &str| Problem::field(Code::UnsupportedMediaType, "Content-Type", what);
    let Some(value) = value else {
        return if body_is_empty { Ok(Media::Json) } else { Err(unsupported("is missing; send application/json")) };
    };
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Ok(Media::Json)
    } else if essence.eq_ignore_ascii_case(b"application/x-ndjson") {
        Ok(Media::Ndjson)
    } else {
        Err(unsupported("is application/json, or application/x-ndjson for a stream of transfers"))
    }
}

/// The languages in which a saga may be defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefinitionMedia {
    /// `application/json`.
    Json,
    /// `application/yaml` (RFC 9512).
    Yaml,
}

/// The language of a definition, by its content type.
///
/// # Errors
/// `unsupported-media-type`.
pub fn definition_media(value: Option<&[u8]>) -> Result<DefinitionMedia, Problem> {
    let essence = value.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Ok(DefinitionMedia::Json)
    } else if essence.eq_ignore_ascii_case(b"application/yaml") {
        Ok(DefinitionMedia::Yaml)
    } else {
        let what = "is application/json or application/yaml here";
        Err(Problem::field(Code::UnsupportedMediaType, "Content-Type", what))
    }
}

/// The token after `Bearer` in `Authorization`; `None` for every other scheme.
pub fn bearer(value: &[u8]) -> Option<&str> {
    let text = ascii(value)?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn ascii(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii()).map(|text| text.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests;
