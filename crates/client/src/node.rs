//! The nodes of the server's cell.

use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::call::Write;
use crate::client::Client;
use crate::read::Read;
use crate::transport::segment;

/// A node as it was last heard of.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// `leader` or `follower`, as it said itself.
    pub role: String,
    /// How far it had applied: `<cell>:<epoch>:<index>`.
    pub position: String,
    /// Where other nodes reach it; `None` if it is alone.
    pub advertise: Option<String>,
    /// Where it is, if it says.
    pub region: Option<String>,
    /// How long ago it said so, in milliseconds.
    pub seen_ms_ago: u64,
}

/// All nodes.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct NodePage {
    /// By name.
    pub items: Vec<Node>,
}

/// A node that was asked to lead.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct NodePromoted {
    /// Which.
    pub node: String,
    /// `asked`: it claims as soon as it can; `leads`: it led already.
    pub state: String,
}

impl Client {
    /// The nodes of the cell.
    pub fn nodes(&self) -> Read<'_, NodePage> {
        Read::new(self, "/v1/nodes".to_owned())
    }

    /// Asks that a node lead. Asked again, it is the same: a node that leads already is not disturbed.
    pub fn promote_node(&self, node: &str) -> Write<'_, NodePromoted> {
        Write::new(self, format!("/v1/nodes/{}/promote", segment(node)), &Map::new())
    }
}
