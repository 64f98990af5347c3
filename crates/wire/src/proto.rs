//! The protobuf messages and the gRPC service, generated from `proto/tertium/v1/tertium.proto` and checked in, so that
//! a normal build needs neither protoc nor a build script. `xtask/proto` writes them.

#![expect(missing_docs, reason = "generated: the .proto has the words, and prost copies those that stand above a name")]
#![allow(clippy::all, reason = "generated code keeps its own style, which changes with the generator")]

include!("proto/tertium.v1.rs");

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    /// If this fails: `cargo run --manifest-path xtask/proto/Cargo.toml`.
    #[test]
    fn generated_from_this_proto() {
        let digest = xxh3_64(include_bytes!("../proto/tertium/v1/tertium.proto"));
        let first_line = include_str!("proto/tertium.v1.rs").lines().next().unwrap();
        assert_eq!(first_line, format!("// Of tertium.proto with digest {digest:016x}."));
    }
}
