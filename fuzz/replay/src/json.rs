//! Bodies of requests.

use machine::{BatchEncoder, Command};
use wire::problem::Problem;
use wire::request::{self, EventForm};

use crate::headers::understood;

const PRINCIPAL: &str = "someone";
const KEY: &str = "key-1";
/// A transfer's id, for the paths that need one.
const TRANSFER: &str = "0190163d-8694-7a1b-8c2d-3e4f5a6b7c8d";

type Parser = fn(&[u8]) -> Result<Vec<u8>, Problem>;

const PARSERS: [Parser; 12] = [
    |body| request::parse_account(body, PRINCIPAL, KEY),
    |body| request::parse_transfer(body, PRINCIPAL, KEY),
    |body| request::parse_capture(TRANSFER, body, PRINCIPAL, KEY),
    |body| request::parse_void(TRANSFER, body, PRINCIPAL, KEY),
    |body| request::parse_reverse(TRANSFER, body, PRINCIPAL, KEY),
    |body| request::parse_batch(body, PRINCIPAL, KEY),
    parse_lines,
    |body| request::parse_publish("orders", EventForm::Short, body, PRINCIPAL, KEY),
    |body| request::parse_publish("orders", EventForm::Structured, body, PRINCIPAL, KEY),
    |body| request::parse_publish("orders", EventForm::Batched, body, PRINCIPAL, KEY),
    |body| request::parse_subscription("mail", body, PRINCIPAL, KEY, |_| Ok(())),
    |body| request::parse_topic("orders", body, PRINCIPAL, KEY),
];

/// Hands the bytes after the first, which chooses, to a parser of bodies. A body that is understood becomes a command that
/// the machine reads, in its one canonical form, and white space around it changes nothing; any other gives a problem.
///
/// # Panics
/// Where one of that does not hold.
pub fn json(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let parser = PARSERS[usize::from(*choice) % PARSERS.len()];
    let Some(encoded) = understood(parser(body)) else { return };
    let command = Command::decode(&encoded).expect("what wire encodes, the machine reads");
    assert_eq!(command.principal, PRINCIPAL);
    assert!(command.key == KEY || command.key.is_empty());
    let mut op = Vec::new();
    command.op.encode(&mut op);
    assert_eq!(op, command.op_bytes, "one request, two encodings");
    if !body.is_empty() {
        let spaced = [b" \t", body, b"\r\n "].concat();
        assert_eq!(parser(&spaced).as_ref(), Ok(&encoded), "white space changed the request");
    }
}

/// The lines of a stream; the empty ones are skipped, one that is refused is left out.
fn parse_lines(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut batch = BatchEncoder::new(4);
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let before = batch.len();
        let result = request::parse_line(line, &mut batch);
        assert_eq!(batch.len(), before + usize::from(result.is_ok()), "a refused line left something behind");
        understood(result.map_err(|(_, problem)| problem));
    }
    Ok(request::stream_command(PRINCIPAL, &batch))
}
