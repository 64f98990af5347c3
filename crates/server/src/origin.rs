//! Keeps web pages out of a server that asks nobody who they are.
//!
//! Whoever can reach a loopback address may use such a server, and a browser can, on behalf of any page it shows. What a page
//! sends has marks that it cannot take off: `Origin` and `Sec-Fetch-Site` (Fetch Standard, Fetch Metadata Request Headers)
//! say where it is from, and `Host` is the page's own host where the page had its name lead to this machine (DNS
//! rebinding).

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri};
use wire::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets in what cannot be of a page from elsewhere. `hosts` are names of this server besides those of loopback.
///
/// # Errors
/// `origin-not-allowed`.
pub(crate) fn check_origin(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Problem> {
    let wrong = |name: &str, what: &str| Err(Problem::field(Code::OriginNotAllowed, name, what));
    // Of a request in HTTP/2, or to a proxy, the host stands in the URI. No browser sends a request without any.
    let named = match headers.get(HOST) {
        Some(host) => Some(host.to_str().ok().and_then(|host| host.parse::<Authority>().ok())),
        None => uri.authority().map(|authority| Some(authority.clone())),
    };
    let host = match named {
        None => None,
        Some(Some(host)) if is_ours(host.host(), hosts) => Some(host),
        Some(_) => return wrong("Host", "is a name of this machine, like localhost, or one of the setting `hosts`"),
    };
    if let Some(origin) = headers.get(ORIGIN) {
        let of_page = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let of_page = of_page.as_ref().and_then(Uri::authority);
        if of_page.is_none() || of_page != host.as_ref() {
            return wrong("Origin", "is that of this server: pages from elsewhere may not ask it");
        }
    }
    match headers.get(SEC_FETCH_SITE).map(http::HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => wrong("Sec-Fetch-Site", "is same-origin or none: pages from elsewhere may not ask this server"),
    }
}

fn is_ours(host: &str, hosts: &[String]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    match address {
        Ok(address) if address.to_canonical().is_loopback() => true,
        _ => host == "localhost" || host.ends_with(".localhost") || hosts.contains(&host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, headers: &[(&'static str, &'static str)], expect: Option<&str>) {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let checked = check_origin(&uri.parse().unwrap(), &headers, &["tertium.internal".to_owned()]);
        let field = checked.as_ref().err().map(|problem| (problem.code, problem.field_name().unwrap()));
        assert_eq!(field, expect.map(|field| (Code::OriginNotAllowed, field)), "{uri} {headers:?}");
    }

    #[test]
    fn hosts() {
        for ours in [
            "localhost",
            "localhost:7700",
            "LocalHost.:7700",
            "app.localhost:1",
            "127.0.0.1:7700",
            "127.9.9.9",
            "[::1]:7700",
            "[::ffff:127.0.0.1]:7700",
            "tertium.internal:7700",
            "TERTIUM.internal",
        ] {
            check("/v1/accounts", &[("host", ours)], None);
            check(&format!("http://{ours}/v1/accounts"), &[], None);
        }
        check("/v1/accounts", &[], None);
        for other in [
            "evil.example",
            "evil.example:7700",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:7700",
            "0.0.0.0:7700",
            "notlocalhost",
            "[2001:db8::1]:7700",
            "a b",
            "",
        ] {
            check("/v1/accounts", &[("host", other)], Some("Host"));
        }
        check("http://evil.example/v1/accounts", &[], Some("Host"));
    }

    #[test]
    fn pages() {
        let host = ("host", "localhost:7700");
        check("/", &[host, ("origin", "http://localhost:7700")], None);
        check("/", &[host, ("sec-fetch-site", "same-origin")], None);
        check("/", &[host, ("sec-fetch-site", "none")], None);
        for origin in ["http://localhost:3000", "https://evil.example", "http://127.0.0.1:7700", "null", "", "file://"]
        {
            check("/", &[host, ("origin", origin)], Some("Origin"));
        }
        check("/", &[("origin", "http://localhost:7700")], Some("Origin"));
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            check("/", &[host, ("sec-fetch-site", site)], Some("Sec-Fetch-Site"));
        }
    }
}
