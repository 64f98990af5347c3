//! The machines of the lab.

use std::fmt;
use std::net::Ipv4Addr;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// Where clients are.
    Client,
    /// A node of the cell: `a`, `b`, `c`.
    Node(u8),
    /// A server of PostgreSQL: `db1`, `db2`, `db3`.
    Database(u8),
}

/// How many nodes there are, and how many servers of PostgreSQL.
pub const NODES: u8 = 3;
/// See [`NODES`].
pub const DATABASES: u8 = 3;

impl Host {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Client).chain(Self::nodes()).chain(Self::databases())
    }

    /// The nodes.
    pub fn nodes() -> impl Iterator<Item = Self> {
        (0..NODES).map(Self::Node)
    }

    /// The servers of PostgreSQL.
    pub fn databases() -> impl Iterator<Item = Self> {
        (0..DATABASES).map(Self::Database)
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|host| host.to_string() == name)
    }

    /// Its address in the lab.
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Client => Ipv4Addr::new(10, 77, 0, 1),
            Self::Node(number) => Ipv4Addr::new(10, 77, 0, 11 + number),
            Self::Database(number) => Ipv4Addr::new(10, 77, 0, 21 + number),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("me"),
            Self::Node(number) => write!(f, "{}", char::from(b'a' + number)),
            Self::Database(number) => write!(f, "db{}", number + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_host_has_a_name_and_an_address_of_its_own() {
        let names: Vec<String> = Host::all().map(|host| host.to_string()).collect();
        assert_eq!(names, ["me", "a", "b", "c", "db1", "db2", "db3"]);
        assert_eq!(Host::all().map(Host::address).collect::<BTreeSet<_>>().len(), names.len());
        for host in Host::all() {
            assert_eq!(Host::parse(&host.to_string()), Some(host));
        }
        assert_eq!(Host::parse("db4"), None);
    }
}
