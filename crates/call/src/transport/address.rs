//! Which addresses may be called at all: the protection against requests that a stranger's URL turns against our own
//! network (CWE-918). Asked about each resolved address; the connection goes to the address that was asked about.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Decides about one address of a host. What is refused was never connected to: certainly not done.
pub trait AddressPolicy: Send + Sync + fmt::Debug {
    /// # Errors
    /// In words, what is refused and why.
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String>;
}

/// Only this machine. The default.
#[derive(Clone, Copy, Default, Debug)]
pub struct LoopbackOnly;

/// What is on a list, and nothing else. Link-local, metadata, unspecified, multicast and broadcast addresses are refused
/// unless the list has them as addresses; a host's name on the list is not enough.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AllowList {
    hosts: Vec<(String, Option<u16>)>,
    networks: Vec<(Network, Option<u16>)>,
}

/// Why a text is no item of an allow-list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowListError {
    /// The item.
    pub item: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl AddressPolicy for LoopbackOnly {
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        if plain(address.ip()).is_loopback() {
            return Ok(());
        }
        Err(format!("{} of {host}: only loopback addresses may be called", address.ip()))
    }
}

impl AllowList {
    /// Reads items of the forms `host`, `host:port`, `10.0.0.0/8`, `10.1.2.3`, `10.1.2.3:80`, `fd00::/8`, `[::1]:80`.
    ///
    /// # Errors
    /// The first item that is none of them.
    pub fn new<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, AllowListError> {
        let mut list = Self::default();
        for item in items {
            list.add(item.trim()).ok_or_else(|| AllowListError { item: item.to_owned() })?;
        }
        Ok(list)
    }

    fn add(&mut self, item: &str) -> Option<()> {
        if let Some((base, bits)) = item.split_once('/') {
            let base = plain(base.trim_matches(['[', ']']).parse().ok()?);
            let prefix_bits = bits.parse().ok().filter(|bits| *bits <= width(base))?;
            self.networks.push((Network { base, prefix_bits }, None));
        } else if let Ok(address) = item.parse::<SocketAddr>() {
            self.networks.push((Network::of(address.ip()), Some(address.port())));
        } else if let Ok(ip) = item.trim_matches(['[', ']']).parse::<IpAddr>() {
            self.networks.push((Network::of(ip), None));
        } else {
            let (host, port) = match item.split_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok()?)),
                None => (item, None),
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            (!host.is_empty() && host.chars().all(is_name)).then_some(())?;
            self.hosts.push((host.to_ascii_lowercase(), port));
        }
        Some(())
    }
}

impl AddressPolicy for AllowList {
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let ip = plain(address.ip());
        let port_fits = |port: &Option<u16>| port.is_none_or(|port| port == address.port());
        if self.networks.iter().any(|(network, port)| network.contains(ip) && port_fits(port) && network.may_hold(ip)) {
            return Ok(());
        }
        if let Some(kind) = never(ip) {
            return Err(format!("{address} of {host}: a {kind} address"));
        }
        let host = host.trim_end_matches('.');
        if self.hosts.iter().any(|(allowed, port)| allowed.eq_ignore_ascii_case(host) && port_fits(port)) {
            return Ok(());
        }
        Err(format!("{address} of {host}: not on the allow-list"))
    }
}

impl Network {
    fn of(ip: IpAddr) -> Self {
        let base = plain(ip);
        Self { base, prefix_bits: width(base) }
    }

    fn contains(self, ip: IpAddr) -> bool {
        let shift = u32::from(width(self.base) - self.prefix_bits);
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0,
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0,
            _ => false,
        }
    }

    /// An address of the never kinds has to be meant: by a network that lies within that kind.
    fn may_hold(self, ip: IpAddr) -> bool {
        never(ip).is_none() || never(self.base) == never(ip) && self.prefix_bits >= 4
    }
}

/// Addresses that no name may lead to: those of the machine's own neighbourhood, of cloud metadata, and of nobody.
fn never(ip: IpAddr) -> Option<&'static str> {
    /// Where clouds answer with credentials, outside the link-local networks.
    const METADATA: [IpAddr; 3] = [
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    ];
    if METADATA.contains(&ip) {
        return Some("metadata");
    }
    if ip.is_unspecified() {
        return Some("unspecified");
    }
    if ip.is_multicast() {
        return Some("multicast");
    }
    match ip {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("unspecified"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("broadcast"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(v6) => never(IpAddr::V4(behind_gateway(v6)?)),
        IpAddr::V4(_) => None,
    }
}

/// A mapped IPv4 address (RFC 4291, section 2.5.5.2) is one.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The IPv4 address that a gateway would make of it: NAT64 (RFC 6052), 6to4 (RFC 3056).
fn behind_gateway(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

const fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for AllowListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no host, address or network, like `pay.example`, `10.1.2.3:80` or `10.0.0.0/8`", self.item)
    }
}

impl std::error::Error for AllowListError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: &dyn AddressPolicy, host: &str, address: &str, allowed: bool) {
        let checked = policy.check(host, address.parse().unwrap());
        assert_eq!(checked.is_ok(), allowed, "{host} {address}: {checked:?}");
    }

    #[test]
    fn loopback_only() {
        for (address, allowed) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("10.0.0.1:80", false),
            ("[::ffff:10.0.0.1]:80", false),
            ("169.254.169.254:80", false),
            ("[fd00:ec2::254]:80", false),
        ] {
            check(&LoopbackOnly, "localhost", address, allowed);
        }
    }

    #[test]
    fn allow_list() {
        let list = AllowList::new(["Pay.example", "shop.example:8443", "10.0.0.0/8", "192.0.2.7:81", "2001:db8::/32"]);
        let list = list.unwrap();
        for (host, address, allowed) in [
            ("pay.example", "203.0.113.1:80", true),
            ("PAY.example.", "203.0.113.1:80", true),
            ("evil.pay.example", "203.0.113.1:80", false),
            ("shop.example", "203.0.113.1:8443", true),
            ("shop.example", "203.0.113.1:80", false),
            ("any", "10.255.0.1:80", true),
            ("any", "[::ffff:10.255.0.1]:80", true),
            ("any", "11.0.0.1:80", false),
            ("any", "192.0.2.7:81", true),
            ("any", "192.0.2.7:80", false),
            ("any", "[2001:db8:ffff::1]:80", true),
            ("any", "[2001:db9::1]:80", false),
            ("any", "127.0.0.1:80", false),
        ] {
            check(&list, host, address, allowed);
        }
    }

    #[test]
    fn a_name_on_the_list_does_not_lead_everywhere() {
        let list = AllowList::new(["pay.example", "0.0.0.0/0", "::/0"]).unwrap();
        for address in [
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[2002:a9fe:a9fe::]:80",
            "[fd00:ec2::254]:80",
            "[fe80::1]:80",
            "100.100.100.200:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::]:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
        ] {
            check(&list, "pay.example", address, false);
        }
        check(&list, "pay.example", "203.0.113.1:80", true);
        check(&AllowList::new(["169.254.0.0/16"]).unwrap(), "any", "169.254.1.1:80", true);
        check(&AllowList::new(["224.0.0.5:80"]).unwrap(), "any", "224.0.0.5:80", true);
    }

    #[test]
    fn what_is_no_item() {
        for bad in ["", "10.0.0.0/33", "::/129", "a b", "host:port", "host:99999", "http://host", "10.0.0.0/8/8"] {
            assert!(AllowList::new([bad]).is_err(), "{bad:?}");
        }
    }
}
