//! A terminal session with a call of which nobody knows what became, from the list to a person's word.

mod session;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use expect_test::expect;
use session::Session;

/// Takes one request after the other, and answers none.
fn silent_receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whatever of it has come, it was begun.
            let _ = stream.unwrap().read(&mut [0; 4_096]);
        }
    });
    address
}

/// Has the server make a call that it answers for at once.
fn call(session: &Session, key: &str, url: &str) {
    let address = session.url().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let body = format!(r#"{{"url":"{url}","body":{{"n":1}}}}"#);
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /v1/calls HTTP/1.1\r\nhost: {address}\r\nidempotency-key: \"{key}\"\r\nprefer: respond-async\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// With what stands between the two words replaced.
fn steady_between(text: &str, from: &str, to: &str) -> String {
    let (before, after) = text.split_once(from).expect(text);
    let (_, after) = after.split_once(to).expect(text);
    format!("{before}{from}<...>{to}{after}")
}

#[test]
fn what_nobody_knows_ends_by_a_persons_word() {
    let mut session = Session::new();
    session.serve("data");
    let receiver = silent_receiver();
    call(&session, "pay-1", &format!("http://{receiver}/pay"));
    let is_escalated = (0..1_000).any(|_| session.run("uncertain list").stdout.contains("a person must decide"));
    assert!(is_escalated, "{}", session.run("uncertain list").stdout);
    let id = session.run("uncertain list").stdout.split(' ').next().unwrap().to_owned();
    let resolve = |key: &str| format!("uncertain resolve {id} refused --by ada --note 'no such payment' --key {key}");
    let shown = session.transcript(&["uncertain list", &resolve("word-1"), "uncertain list", &resolve("word-2")]);
    // How old it is, and how the connection broke, depends on the machine.
    let shown = steady_between(&shown, "uncertain for ", " s,");
    let shown = steady_between(&shown, "call: uncertain (", ")").replace(&receiver, "<receiver>");
    expect![[r#"
        $ tertium uncertain list
        1  pay-1  uncertain for <...> s, a person must decide
          http://<receiver>/pay
          <instant> call: uncertain (<...>)
        [exit status: 0]
        $ tertium uncertain resolve 1 refused --by ada --note 'no such payment' --key word-1
        committed
          id        1
          is now    refused
          key       word-1
          position  <position>
        [exit status: 0]
        $ tertium uncertain list
        nothing is uncertain
        [exit status: 0]
        $ tertium uncertain resolve 1 refused --by ada --note 'no such payment' --key word-2
        refused
          why   not-uncertain: The call 1 is not uncertain.
          more  tertium errors not-uncertain
          key   word-2
        [exit status: 10]
    "#]]
    .assert_eq(&shown);
}
