//! Writes `crates/wire/src/proto/tertium.v1.rs` from the `.proto` files in `crates/wire/proto/tertium/v1`.
//!
//! Run it after each change of one, from the repository's root:
//! `cargo run --manifest-path xtask/proto/Cargo.toml`. A test in `wire` compares the digest that it leaves in the generated
//! file with that of the `.proto` files.

use std::error::Error;
use std::fs;
use std::path::Path;

use tonic_prost_build::Builder;
use xxhash_rust::xxh3::xxh3_64;

/// The file whose messages are written by hand, since bulk work goes through them; and those of it that are not.
const BY_HAND: (&str, [&str; 3]) = ("tertium/v1/tertium.proto", ["Operation", "Problem", "ProblemError"]);
/// A message that is a whole JSON object in one of its fields.
const OPAQUE: &str = "Event";

fn main() -> Result<(), Box<dyn Error>> {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/wire");
    let mut sources = Vec::new();
    for entry in fs::read_dir(wire.join("proto/tertium/v1"))? {
        sources.push(entry?.path());
    }
    sources.sort();
    let out = wire.join("src/proto");
    let descriptors = protox::compile(&sources, [wire.join("proto")])?;
    // Packed frames are sliced out of the message that brought them, not copied. Maps have one order.
    let mut builder = tonic_prost_build::configure()
        .bytes(".tertium.v1.TransferFrame.packed")
        .bytes(".tertium.v1.AnswerFrame.packed")
        .btree_map(".tertium.v1")
        .out_dir(&out);
    for file in &descriptors.file {
        for message in &file.message_type {
            let is_by_hand = file.name() == BY_HAND.0 && !BY_HAND.1.contains(&message.name());
            let has_choice = message.field.iter().any(|field| field.oneof_index.is_some() && !field.proto3_optional());
            if is_by_hand || has_choice {
                continue;
            }
            let path = format!(".tertium.v1.{}", message.name());
            builder = match message.name() {
                OPAQUE => builder.type_attribute(&path, "#[derive(::serde::Serialize)]"),
                _ => builder.type_attribute(
                    &path,
                    "#[derive(::serde::Serialize, ::serde::Deserialize)]\n#[serde(default)]",
                ),
            };
            for field in &message.field {
                let of_outcome = field.type_name() == ".tertium.v1.Outcome";
                builder = with_json(builder, &path, field.name(), of_outcome, field.proto3_optional());
            }
        }
    }
    builder.compile_fds(descriptors)?;
    let generated = out.join("tertium.v1.rs");
    let mut text = Vec::new();
    for source in &sources {
        text.extend(fs::read(source)?);
    }
    let digest = xxh3_64(&text);
    let code = fs::read_to_string(&generated)?;
    fs::write(&generated, format!("// Of proto/tertium/v1 with digest {digest:016x}.\n{code}"))?;
    println!("{} written, digest {digest:016x}", generated.display());
    Ok(())
}

/// Says how a field is written as JSON: under its name, and not at all where it has its default. A JSON text stands there
/// without `_json` behind its name, and an outcome is a word.
fn with_json(builder: Builder, message: &str, field: &str, of_outcome: bool, is_optional: bool) -> Builder {
    let path = format!("{message}.{field}");
    let json = field.strip_suffix("_json");
    let skip = if is_optional { "Option::is_none" } else { "crate::grpc::json::is_default" };
    let builder = builder.field_attribute(&path, format!("#[serde(skip_serializing_if = \"{skip}\")]"));
    if let Some(name) = json {
        let with = format!("#[serde(rename = \"{name}\", with = \"crate::grpc::json::text\")]");
        return builder.field_attribute(&path, with);
    }
    match (of_outcome, field) {
        (true, _) => builder.field_attribute(&path, "#[serde(with = \"crate::grpc::json::outcome\")]"),
        (false, "start") => builder.field_attribute(&path, "#[serde(with = \"crate::grpc::json::word_or_number\")]"),
        (false, _) => builder,
    }
}
