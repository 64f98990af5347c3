//! What one client may take: bounds with safe defaults, each with what it costs at worst.

use std::time::Duration;

/// Bounds on connections, heads, bodies and waiting.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's backlog. Default 8,192. Each can hold up to
    /// `header_bytes_max` or [`BUFFER_BYTES_MAX`] of unread input, whichever is larger.
    pub connections_max: usize,
    /// All header names and values of one request, in bytes. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Headers of one request. Default 100.
    pub headers_max: usize,
    /// The body of one request, in bytes. Default 4 MiB; a batch of 8,192 items needs about 2 MiB.
    pub body_bytes_max: usize,
    /// The bodies of all requests together, as far as they were received and not yet read, in bytes; what comes beyond is
    /// turned away with 503. Default 256 MiB. What is made of them while they are answered comes on top.
    pub bodies_bytes_max: usize,
    /// Requests open at once on one HTTP/2 connection. Default 1,024.
    pub http2_streams_max: u32,
    /// From the first byte of a head (or of the TLS handshake) to its last. Default 10 s.
    pub header_timeout: Duration,
    /// Between two parts of a body. Default 30 s.
    pub body_idle_timeout: Duration,
    /// Between two requests on a connection. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// How long a client may refuse to take what is sent to it; over HTTP/2, which has a window for each answer, up to twice
    /// as long. Default 30 s.
    pub write_timeout: Duration,
    /// How long requests in flight may take to finish when the server stops. Default 15 s.
    pub stop_grace: Duration,
}

/// Bytes read from one HTTP/1.1 connection at a time; the next part waits until these were taken.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 8_192,
            header_bytes_max: 16 * 1024,
            headers_max: 100,
            body_bytes_max: 4 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            http2_streams_max: 1_024,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(15),
        }
    }
}
