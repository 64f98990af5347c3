//! Where a URL leads, under one name: the counts of a destination must not be had twice for being written in two ways.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::core::verdict::Evidence;

/// A scheme, a host and a port. `HTTP://Pay.Example.:80/x` and `http://pay.example/y` lead to one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an absolute URL.
    ///
    /// # Errors
    /// [`Evidence::RequestInvalid`]: its scheme is another, it names no host, or it has credentials.
    pub fn of(url: &Uri) -> Result<Self, Evidence> {
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(Evidence::RequestInvalid("the URL is neither http nor https")),
        };
        let authority = url.authority().ok_or(Evidence::RequestInvalid("the URL names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Evidence::RequestInvalid("the URL has a user name; credentials belong in a header"));
        }
        let host = host_name(authority.host());
        if host.is_empty() {
            return Err(Evidence::RequestInvalid("the URL names no host"));
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port })
    }

    /// Whether it is spoken to over TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// In lower case, without brackets and without a dot at the end.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its own, or that of the scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

/// How a destination is called in settings: `host` or `host:port`, as an [`Origin`] has them.
pub fn destination_name(text: &str) -> String {
    // What has several colons and no bracket is an address of its own.
    let split = text.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'));
    match split {
        Some((host, port)) => format!("{}:{port}", bracketed(&host_name(host))),
        None => bracketed(&host_name(text)),
    }
}

/// A name in lower case without the dot of the root (RFC 1034, section 3.1); an address in its one form.
fn host_name(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    let name = host.strip_suffix('.').unwrap_or(host);
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_urls_lead() {
        for (url, expected) in [
            ("http://Pay.example/x", Some("http://pay.example:80")),
            ("http://pay.example.", Some("http://pay.example:80")),
            ("http://PAY.example.:80/y", Some("http://pay.example:80")),
            ("HTTP://pay.example:80", Some("http://pay.example:80")),
            ("http://pay.example:443", Some("http://pay.example:443")),
            ("https://pay.example", Some("https://pay.example:443")),
            ("https://pay.example.:443/", Some("https://pay.example:443")),
            ("http://[::1]:81/", Some("http://[::1]:81")),
            ("http://[0:0:0:0:0:0:0:1]:81/", Some("http://[::1]:81")),
            ("http://[::FFFF:127.0.0.1]/", Some("http://127.0.0.1:80")),
            ("http://127.0.0.1./", Some("http://127.0.0.1:80")),
            ("http://./", None),
            ("http://me:secret@pay.example/", None),
            ("ftp://pay.example/", None),
            ("/path", None),
        ] {
            let found = Origin::of(&url.parse().unwrap()).ok().map(|origin| origin.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn how_settings_call_destinations() {
        for (text, expected) in [
            ("pay.example", "pay.example"),
            ("Pay.example.", "pay.example"),
            ("pay.example.:443", "pay.example:443"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
            ("[0:0::1]:81", "[::1]:81"),
        ] {
            assert_eq!(destination_name(text), expected, "{text}");
        }
    }
}
