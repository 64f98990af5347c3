//! The protobuf messages and the gRPC services, generated from the files in `proto/tertium/v1` and checked in, so that
//! a normal build needs neither protoc nor a build script. `xtask/proto` writes them.

#![expect(missing_docs, reason = "generated: the .proto has the words, and prost copies those that stand above a name")]
#![allow(clippy::all, reason = "generated code keeps its own style, which changes with the generator")]

include!("proto/tertium.v1.rs");

#[cfg(test)]
pub(crate) mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    /// In the order of their names.
    pub(crate) const SOURCES: [&str; 5] = [
        include_str!("../proto/tertium/v1/calls.proto"),
        include_str!("../proto/tertium/v1/leases.proto"),
        include_str!("../proto/tertium/v1/sagas.proto"),
        include_str!("../proto/tertium/v1/tertium.proto"),
        include_str!("../proto/tertium/v1/topics.proto"),
    ];

    /// If this fails: `cargo run --manifest-path xtask/proto/Cargo.toml`.
    #[test]
    fn generated_from_these_files() {
        let digest = xxh3_64(SOURCES.concat().as_bytes());
        let first_line = include_str!("proto/tertium.v1.rs").lines().next().unwrap();
        assert_eq!(first_line, format!("// Of proto/tertium/v1 with digest {digest:016x}."));
    }
}
