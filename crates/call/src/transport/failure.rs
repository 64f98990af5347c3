//! What hyper's and h2's errors are evidence of. What is not recognised proves nothing.

use std::error::Error;
use std::io::ErrorKind;

use crate::core::verdict::Evidence;

pub(crate) fn of_http1(error: &hyper::Error, bytes_written: u64) -> Evidence {
    if bytes_written == 0 {
        return Evidence::NothingWritten;
    }
    if error.is_parse() || error.is_parse_too_large() {
        return Evidence::Malformed { bytes_written };
    }
    match source::<std::io::Error>(error) {
        Some(io) if io.kind() != ErrorKind::UnexpectedEof => Evidence::Broken { kind: io.kind(), bytes_written },
        _ => Evidence::Closed { bytes_written },
    }
}

/// `bytes_written` counts the whole connection since the request was handed over: zero proves as much, more proves nothing.
/// `bodiless` says that the request had no body, so that its head is all of it.
pub(crate) fn of_http2(error: &hyper::Error, bytes_written: u64, bodiless: bool) -> Evidence {
    if let Some(h2) = source::<h2::Error>(error) {
        // A stream that the peer took notice of does not end with the connection's GOAWAY as its error: only those
        // above its last id do, and those that were not opened because of it. One opened at the same moment is given up
        // before its body, but its head may leave: without a body that is a whole request.
        if h2.is_go_away() && h2.is_remote() {
            return if bodiless { Evidence::Closed { bytes_written } } else { Evidence::AboveGoaway };
        }
        match h2.reason() {
            Some(h2::Reason::REFUSED_STREAM) if h2.is_reset() && h2.is_remote() => return Evidence::StreamRefused,
            Some(reason) if h2.is_reset() => return Evidence::StreamReset { code: reason.into() },
            Some(_) => return Evidence::Malformed { bytes_written },
            None => {}
        }
        if let Some(io) = h2.get_io() {
            return match io.kind() {
                _ if bytes_written == 0 => Evidence::NothingWritten,
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => Evidence::Closed { bytes_written },
                kind => Evidence::Broken { kind, bytes_written },
            };
        }
    }
    of_http1(error, bytes_written)
}

fn source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
