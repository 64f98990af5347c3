//! Values of settings as people write them: durations, sizes, counts. Errors say what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use cell::Level;

/// A whole number followed by `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let right = || {
        let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
        format!("a whole number with its unit, like `250ms`, `10s` or `7d`, from {low} to {high}")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(right()),
    };
    let ms = text[..digits].parse::<u64>().ok().and_then(|n| n.checked_mul(unit_ms)).ok_or_else(right)?;
    let duration = Duration::from_millis(ms);
    if range.contains(&duration) { Ok(duration) } else { Err(right()) }
}

/// A duration in the largest unit that leaves a whole number.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (size, unit) = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(size, _)| ms >= *size && ms.is_multiple_of(*size))
        .unwrap_or((1, "ms"));
    format!("{}{unit}", ms / size)
}

/// A whole number of bytes, or one followed by `KiB`, `MiB` or `GiB`.
pub(super) fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let right = || {
        let (low, high) = (show_bytes(*range.start()), show_bytes(*range.end()));
        format!("a whole number of bytes, or one with `KiB`, `MiB` or `GiB`, from {low} to {high}")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let shift = match text[digits..].trim_start() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(right()),
    };
    let n = text[..digits].parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(right)?;
    if range.contains(&n) { Ok(n) } else { Err(right()) }
}

/// A number of bytes in the largest unit that leaves a whole number.
pub(super) fn show_bytes(n: u64) -> String {
    match [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(shift, _)| n > 0 && n.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{}{unit}", n >> shift),
        None => n.to_string(),
    }
}

/// A whole number.
pub(super) fn count(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(n) if range.contains(&n) && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(n),
        _ => Err(format!("a whole number from {} to {}", range.start(), range.end())),
    }
}

/// `http://host:port` of loopback, or `https://host[:port]`.
pub(super) fn advertise(text: &str) -> Result<String, String> {
    let right = || "`https://host[:port]`, or `http://address:port` on loopback".to_owned();
    let url: http::Uri = text.parse().map_err(|_| right())?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    let is_plain = url.path_and_query().is_none_or(|path| path.as_str() == "/");
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match url.scheme_str() {
        Some("https") if is_plain && !has_user => {}
        Some("http") if is_plain && !has_user && is_loopback => {}
        _ => return Err(right()),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

/// A level of reads that needs nothing from the request.
pub(super) fn consistency(text: &str) -> Result<Level, String> {
    match text {
        "linearizable" => Ok(Level::Linearizable),
        "eventual" => Ok(Level::Eventual),
        _ => text
            .strip_prefix("bounded=")
            .and_then(|ms| ms.parse().ok())
            .map(|ms| Level::Bounded { ms })
            .ok_or_else(|| "`linearizable`, `bounded=<ms>` or `eventual`".to_owned()),
    }
}

/// The level as it is written.
pub(super) fn show_consistency(level: Level) -> String {
    match level {
        Level::Bounded { ms } => format!("bounded={ms}"),
        Level::Eventual => "eventual".to_owned(),
        Level::Linearizable | Level::Session(_) | Level::At(_) => "linearizable".to_owned(),
    }
}
