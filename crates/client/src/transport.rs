//! One request over a kept-alive connection, and how certain it is that the server never had it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// The largest answer that is read. A page of 1,000 transfers with full metadata is well below.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(crate) struct Transport {
    pool: Pool<HttpsConnector<HttpConnector>, Watched>,
    /// `http://host:port`, without a slash at the end.
    base: String,
    api_key: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query, already percent-encoded.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// There is no response.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The server cannot have had the whole request.
    NotSent(String),
    /// Nor that: there was no time left to send it. What stood in the way before says more.
    Late,
    /// It may have.
    Perhaps(String),
}

/// [`Lost::Late`], for people.
pub(crate) const LATE: &str = "the deadline has passed";

impl Transport {
    pub(crate) fn new(base: String, tls: rustls::ClientConfig, api_key: Option<HeaderValue>, idle_max: usize) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle_max)
            // Trying again is decided in one place, under the budget.
            .retry_canceled_requests(false)
            .build(connector);
        Self { pool, base, api_key }
    }

    /// Sends it and waits for the whole response, until then.
    pub(crate) async fn send(&self, request: Request, until: Instant) -> Result<Response, Lost> {
        let begun = Arc::new(AtomicBool::new(false));
        // A request without a body can be whole before anyone polls it.
        let bodiless = request.body.is_empty();
        let lost = |reason: String| {
            if !bodiless && !begun.load(Ordering::Acquire) { Lost::NotSent(reason) } else { Lost::Perhaps(reason) }
        };
        let built = self.build(request, Arc::clone(&begun)).map_err(Lost::NotSent)?;
        let exchange = async {
            let response = self.pool.request(built).await.map_err(|error| {
                if error.is_connect() { Lost::NotSent(whole_reason(&error)) } else { lost(whole_reason(&error)) }
            })?;
            let (parts, body) = response.into_parts();
            let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| Lost::Perhaps(format!("the answer broke off: {error}")))?
                .to_bytes();
            Ok(Response { status: parts.status, headers: parts.headers, body })
        };
        match tokio::time::timeout_at(until.into(), exchange).await {
            Ok(result) => result,
            Err(_) => Err(lost("no answer in time".to_owned())),
        }
    }

    fn build(&self, request: Request, begun: Arc<AtomicBool>) -> Result<http::Request<Watched>, String> {
        let uri: Uri =
            format!("{}{}", self.base, request.path).parse().map_err(|error| format!("not a URL: {error}"))?;
        let mut built = http::Request::new(Watched { bytes: Full::new(request.body), begun });
        *built.method_mut() = request.method;
        *built.uri_mut() = uri;
        *built.headers_mut() = request.headers;
        let headers = built.headers_mut();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("tertium-client/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(api_key) = &self.api_key {
            headers.insert(header::AUTHORIZATION, api_key.clone());
        }
        Ok(built)
    }
}

/// An error with its causes: hyper's own text says only "client error (Connect)".
fn whole_reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A body that remembers whether anyone began to send it: a request whose body was never asked for was never whole.
#[derive(Debug)]
pub(crate) struct Watched {
    bytes: Full<Bytes>,
    begun: Arc<AtomicBool>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.begun.store(true, Ordering::Release);
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// A segment of a path: everything but RFC 3986's unreserved characters is percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    // A lone dot would be taken for "here", two for "up", by whatever stands between.
    match out.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => out,
    }
}

/// What a query goes on with where a page is not the first.
pub(crate) fn and_cursor(cursor: Option<&str>) -> String {
    cursor.map(|cursor| format!("&cursor={}", segment(cursor))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments() {
        for (text, encoded) in [
            ("alice", "alice"),
            ("invoice/536365", "invoice%2F536365"),
            ("a:b_c-d.e", "a%3Ab_c-d.e"),
            ("50%\"é", "50%25%22%C3%A9"),
            (".", "%2E"),
            ("..", "%2E%2E"),
        ] {
            assert_eq!(segment(text), encoded);
        }
    }
}
