//! Whether the server may call where it is asked to: for what a caller sends and for what a step computes.

use std::net::{IpAddr, SocketAddr};

use call::{AddressPolicy, Origin};
use wire::request::Asked;
use wire::{Code, Problem};

use crate::probe::Probe;
use crate::request::{check_url, secrets_in};

/// Whether a call can be made as a step asks for it. Which addresses may be called is known when a name is resolved; which
/// secrets may be named was known when the saga was defined, and what was computed since names no others.
///
/// # Errors
/// A problem that names the field within `parent`.
pub fn check_asked(addresses: &dyn AddressPolicy, parent: &str, asked: Asked<'_>) -> Result<(), Problem> {
    let field = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    match asked {
        Asked::Request { url, headers } => {
            let url = check_url(url).map_err(|error| Problem::field(Code::InvalidRequest, &field("url"), error))?;
            check_address(addresses, &field("url"), &url)?;
            secrets_in(headers).map_err(|error| Problem::field(Code::InvalidRequest, &field("headers"), error))?;
        }
        Asked::Probe(json) => {
            let probe =
                Probe::parse_with_secrets(json).map_err(|error| Problem::field(Code::InvalidRequest, parent, error))?;
            let url =
                probe.url_of("key").map_err(|error| Problem::field(Code::InvalidRequest, &field("url"), error))?;
            check_address(addresses, &field("url"), &url)?;
        }
    }
    Ok(())
}

/// An address that is written down can be judged at once; a name is judged when it is resolved, each time anew.
///
/// # Errors
/// `destination-not-allowed`, naming `field`.
pub fn check_address(addresses: &dyn AddressPolicy, field: &str, url: &http::Uri) -> Result<(), Problem> {
    let origin = Origin::of(url).map_err(|error| Problem::field(Code::InvalidRequest, field, error))?;
    let Ok(ip) = origin.host().parse::<IpAddr>() else { return Ok(()) };
    let judged = addresses.check(origin.host(), SocketAddr::new(ip, origin.port()));
    judged.map_err(|why| Problem::field(Code::DestinationNotAllowed, field, why))
}
