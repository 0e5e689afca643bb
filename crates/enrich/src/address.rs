//! How much of an IP address is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use footfall_event::{Event, Text};

/// What is kept of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpKept {
    Nothing,
    /// The network of some hundred lines: a /24 of IPv4, a /48 of IPv6.
    #[default]
    Network,
    /// That of a provider: a /16 of IPv4, a /32 of IPv6.
    Provider,
    All,
}

impl IpKept {
    pub const ALL: [IpKept; 4] = [IpKept::Nothing, IpKept::Network, IpKept::Provider, IpKept::All];

    /// As it stands in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            IpKept::Nothing => "drop",
            IpKept::Network => "/24,/48",
            IpKept::Provider => "/16,/32",
            IpKept::All => "full",
        }
    }

    /// Cuts the event's address; what is none is not kept, unless all is.
    pub fn cut(self, event: &mut Event<'_>) {
        let Some(told) = event.text(Text::Ip) else { return };
        let cut = match self {
            IpKept::All => return,
            IpKept::Nothing => None,
            IpKept::Network => told.parse().ok().map(|address| cut(address, 24, 48)),
            IpKept::Provider => told.parse().ok().map(|address| cut(address, 16, 32)),
        };
        event.set_text(Text::Ip, cut.map(|address| address.to_string()).unwrap_or_default());
    }
}

/// The first address of its network. One of IPv4 within IPv6 is one of IPv4.
fn cut(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) & (u32::MAX << (32 - v4_bits)))),
        IpAddr::V6(v6) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << (128 - v6_bits))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kept: IpKept, told: &str, expected: Option<&str>) {
        let mut event = Event::default();
        event.set_text(Text::Ip, told);
        kept.cut(&mut event);
        assert_eq!(event.text(Text::Ip), expected, "{kept:?} {told}");
    }

    #[test]
    fn the_end_of_an_address_is_cut_off() {
        let v6 = "2001:db8:1234:5678::9";
        for (kept, v4_left, v6_left) in [
            (IpKept::Nothing, None, None),
            (IpKept::Network, Some("192.0.2.0"), Some("2001:db8:1234::")),
            (IpKept::Provider, Some("192.0.0.0"), Some("2001:db8::")),
            (IpKept::All, Some("192.0.2.77"), Some(v6)),
        ] {
            check(kept, "192.0.2.77", v4_left);
            check(kept, v6, v6_left);
        }
        check(IpKept::Network, "::ffff:192.0.2.77", Some("192.0.2.0"));
        check(IpKept::Network, "192.0.2.77:443", None);
        check(IpKept::All, "unknown", Some("unknown"));
    }
}
