//! Nodes of a cell as strangers see them.

use words::{CellName, Position};

use crate::json::{put_plain, put_str, put_str_or_null, put_u64};

/// A node as it was last heard of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node<'a> {
    /// Its name.
    pub node: &'a str,
    /// Where other nodes reach it; empty if it is alone.
    pub advertise: &'a str,
    /// Where it is; empty if it does not say.
    pub region: &'a str,
    /// `leader` or `follower`, as it said itself.
    pub role: &'a str,
    /// How far it had applied, in the reign that it knew of.
    pub position: (&'a CellName, Position),
    /// How long ago it said so, in milliseconds.
    pub seen_ms_ago: u64,
}

/// Appends the answer of `GET /v1/nodes`.
pub fn write_nodes<'a>(out: &mut Vec<u8>, nodes: impl IntoIterator<Item = Node<'a>>) {
    out.extend_from_slice(b"{\"items\":[");
    for (number, node) in nodes.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let (cell, position) = node.position;
        out.extend_from_slice(b"{\"node\":");
        put_str(out, node.node);
        out.extend_from_slice(b",\"role\":");
        put_str(out, node.role);
        out.extend_from_slice(b",\"position\":");
        put_plain(out, &format!("{cell}:{position}"));
        out.extend_from_slice(b",\"advertise\":");
        put_str_or_null(out, node.advertise);
        out.extend_from_slice(b",\"region\":");
        put_str_or_null(out, node.region);
        out.extend_from_slice(b",\"seen_ms_ago\":");
        put_u64(out, node.seen_ms_ago);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"next\":null}");
}

/// Appends the answer to a promotion that is under way.
pub fn write_promoted(out: &mut Vec<u8>, node: &str, is_under_way: bool) {
    out.extend_from_slice(b"{\"node\":");
    put_str(out, node);
    out.extend_from_slice(if is_under_way { b",\"state\":\"asked\"}" } else { b",\"state\":\"leads\"}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_as_json() {
        let cell = CellName::new("main").unwrap();
        let position = (&cell, Position { epoch: 2, index: 7 });
        let a = Node { node: "a", advertise: "http://h:1", region: "eu", role: "leader", position, seen_ms_ago: 0 };
        let b = Node { node: "b", advertise: "", region: "", role: "follower", position, seen_ms_ago: 12 };
        let mut out = Vec::new();
        write_nodes(&mut out, [a, b]);
        let expected = r#"{"items":[{"node":"a","role":"leader","position":"main:2:7","advertise":"http://h:1","region":"eu","seen_ms_ago":0},{"node":"b","role":"follower","position":"main:2:7","advertise":null,"region":null,"seen_ms_ago":12}],"next":null}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        write_promoted(&mut out, "b", true);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"node":"b","state":"asked"}"#);
    }
}
