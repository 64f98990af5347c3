//! The kept inputs of the fuzzers, replayed: what once was found is found again, without a fuzzer.

use std::fs;
use std::path::Path;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&dir).expect("the corpus is in the work tree") {
        let path = entry.expect("the corpus can be listed").path();
        // Shown if it panics.
        println!("{}", path.display());
        run(&fs::read(&path).expect("an input can be read"));
        inputs += 1;
    }
    assert!(inputs >= 10, "{inputs} inputs in {}: that is no corpus", dir.display());
}

#[test]
fn entry_decoder() {
    replay("entry_decoder", tertium_fuzz::entry_decoder);
}

#[test]
fn frame_decoder() {
    replay("frame_decoder", tertium_fuzz::frame_decoder);
}

#[test]
fn headers() {
    replay("headers", tertium_fuzz::headers);
}

#[test]
fn json() {
    replay("json", tertium_fuzz::json);
}
