//! Writes `crates/wire/src/proto/tertium.v1.rs` from `crates/wire/proto/tertium/v1/tertium.proto`.
//!
//! Run it after each change of the `.proto`, from the repository's root:
//! `cargo run --manifest-path xtask/proto/Cargo.toml`. A test in `wire` compares the digest that it leaves in the generated
//! file with the `.proto`'s.

use std::error::Error;
use std::fs;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

fn main() -> Result<(), Box<dyn Error>> {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/wire");
    let source = wire.join("proto/tertium/v1/tertium.proto");
    let out = wire.join("src/proto");
    let descriptors = protox::compile([&source], [wire.join("proto")])?;
    // Packed frames are sliced out of the message that brought them, not copied.
    tonic_prost_build::configure()
        .bytes(".tertium.v1.TransferFrame.packed")
        .bytes(".tertium.v1.AnswerFrame.packed")
        .out_dir(&out)
        .compile_fds(descriptors)?;
    let generated = out.join("tertium.v1.rs");
    let digest = xxh3_64(&fs::read(&source)?);
    let code = fs::read_to_string(&generated)?;
    fs::write(&generated, format!("// Of tertium.proto with digest {digest:016x}.\n{code}"))?;
    println!("{} written, digest {digest:016x}", generated.display());
    Ok(())
}
