//! As much of HTTP/1.1 as a load generator needs: requests as bytes, and where a reply ends.

use std::fmt;

/// What the reply's head says, as far as it is needed to find the reply's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Where the body begins, in bytes from the head's first.
    pub body_at: usize,
    /// How the body ends.
    pub body: Body,
    /// Whether the server keeps the connection.
    pub keep_alive: bool,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// After this many bytes.
    Length(usize),
    /// With a chunk of length zero.
    Chunked,
}

/// The bytes are no HTTP/1.1 reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadReply(pub String);

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no HTTP/1.1 reply: {}", self.0)
    }
}

impl std::error::Error for BadReply {}

/// Reads a reply's head; `None` while it is not all there.
///
/// # Errors
/// [`BadReply`] where the bytes can not become a reply.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, BadReply> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let status = bytes
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok())
        .ok_or_else(|| BadReply(String::from_utf8_lossy(&bytes[..end.min(80)]).into_owned()))?;
    let mut head = Head { status, body_at: end + 4, body: Body::Length(0), keep_alive: true };
    for (name, value) in headers(&bytes[..end]) {
        if name.eq_ignore_ascii_case("content-length") {
            head.body = Body::Length(value.parse().map_err(|_| BadReply(format!("content-length: {value}")))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            head.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            head.keep_alive = false;
        }
    }
    Ok(Some(head))
}

/// The header lines of a head: names as sent, values trimmed. Lines that are not text are left out.
pub fn headers(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    std::str::from_utf8(head)
        .unwrap_or_default()
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// Takes chunked transfer coding apart, however the bytes arrive.
#[derive(Clone, Debug, Default)]
pub struct Dechunker {
    state: Chunk,
    line: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Chunk {
    #[default]
    Size,
    Data(usize),
    DataEnd,
    Trailer,
    End,
}

impl Dechunker {
    /// Takes in bytes, appends what is content to `out`, and says how many bytes belonged to the body: fewer than given
    /// only at its end.
    ///
    /// # Errors
    /// [`BadReply`] where a chunk's size is no number.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, BadReply> {
        let mut at = 0;
        while at < bytes.len() && self.state != Chunk::End {
            if let Chunk::Data(left) = self.state {
                let take = left.min(bytes.len() - at);
                out.extend_from_slice(&bytes[at..at + take]);
                at += take;
                self.state = if take == left { Chunk::DataEnd } else { Chunk::Data(left - take) };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_owned();
            self.line.clear();
            self.state = self.after_line(&line)?;
        }
        Ok(at)
    }

    /// Whether the last chunk has been seen.
    pub fn is_done(&self) -> bool {
        self.state == Chunk::End
    }

    fn after_line(&self, line: &str) -> Result<Chunk, BadReply> {
        Ok(match self.state {
            Chunk::Size => {
                let digits = line.split(';').next().unwrap_or_default();
                match usize::from_str_radix(digits, 16) {
                    Ok(0) => Chunk::Trailer,
                    Ok(size) => Chunk::Data(size),
                    Err(_) => return Err(BadReply(format!("chunk size {line:?}"))),
                }
            }
            Chunk::DataEnd => Chunk::Size,
            Chunk::Trailer if line.is_empty() => Chunk::End,
            state => state,
        })
    }
}

/// Appends a write's bytes: a POST with a key and a JSON body.
pub fn put_post(out: &mut Vec<u8>, path: &str, key: &str, body: &[u8]) {
    put_write(out, "POST", path, key, &[], body);
}

/// The same with another method, or with more headers.
pub fn put_write(out: &mut Vec<u8>, method: &str, path: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) {
    let host = " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: ";
    for part in [method, " ", path, host, key] {
        out.extend_from_slice(part.as_bytes());
    }
    put_headers(out, headers);
    out.extend_from_slice(b"\r\nContent-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

fn put_headers(out: &mut Vec<u8>, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        for part in ["\r\n", *name, ": ", *value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Appends the settling of a key.
pub fn put_settle(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b"POST /v1/operations/");
    out.extend_from_slice(percent_encode(key).as_bytes());
    out.extend_from_slice(b"/settle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
}

/// Appends a read's bytes.
pub fn put_get(out: &mut Vec<u8>, path: &str) {
    put_read(out, path, &[]);
}

/// The same with more headers.
pub fn put_read(out: &mut Vec<u8>, path: &str, headers: &[(&str, &str)]) {
    for part in ["GET ", path, " HTTP/1.1\r\nHost: localhost"] {
        out.extend_from_slice(part.as_bytes());
    }
    put_headers(out, headers);
    out.extend_from_slice(b"\r\n\r\n");
}

/// An id or a key as one segment of a path.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_wherever_the_bytes_are_cut() {
        let reply =
            b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 12\r\n\r\n{\"a\":\"b\"}   ";
        for cut in 0..reply.len() - 12 {
            assert_eq!(parse_head(&reply[..cut]), Ok(None), "cut at {cut}");
        }
        let expected = Head { status: 201, body_at: reply.len() - 12, body: Body::Length(12), keep_alive: true };
        assert_eq!(parse_head(reply), Ok(Some(expected)));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        assert!(parse_head(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_come_out_whole_wherever_the_bytes_are_cut() {
        let coded = b"4\r\nabcd\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nHTTP/1.1 ";
        for cut in 0..coded.len() {
            let (mut dechunker, mut out) = (Dechunker::default(), Vec::new());
            let mut used = dechunker.feed(&coded[..cut], &mut out).unwrap();
            used += dechunker.feed(&coded[cut..], &mut out).unwrap();
            assert_eq!(out, b"abcd0123456789", "cut at {cut}");
            assert!(dechunker.is_done());
            assert!(used >= coded.len() - 9, "cut at {cut}: {used}");
        }
    }

    #[test]
    fn paths_are_percent_encoded() {
        assert_eq!(percent_encode("invoice/536365"), "invoice%2F536365");
        assert_eq!(percent_encode("a.b_c-d:1"), "a.b_c-d%3A1");
    }
}
