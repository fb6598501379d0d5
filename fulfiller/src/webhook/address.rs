//! Which addresses a webhook may go to. Names are resolved here and the connection is made to the
//! very addresses that were looked at, so that a name cannot point elsewhere a moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name has no address that may be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has no public address, and allow_private is not set")]
pub struct Blocked;

/// Whether an address is one of the public Internet: not this machine, not a private, shared,
/// link-local, multicast, documentation or reserved range, and not an IPv6 form of such a one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || (a == 100 && b >= 64 && b < 128)
        || (a == 192 && b == 0 && c == 0)
        // What 6to4's relays were reached by.
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [
        first,
        second,
        third,
        fourth,
        fifth,
        sixth,
        last_but_one,
        last,
    ] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [one, two] = high.to_be_bytes();
        let [three, four] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(one, two, three, four))
    };
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    match (first, second) {
        // Of these two prefixes of translators only 64:ff9b::/96 is for public addresses.
        (0x64, 0xff9b) => [third, fourth, fifth, sixth] == [0; 4] && embedded(last_but_one, last),
        (0x2002, high) => embedded(high, third),
        // For protocols (2001::/23, Teredo among them), and for documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // What is handed out lies in 2000::/3.
        _ => first & 0xe000 == 0x2000,
    }
}

/// Resolves names to public addresses only.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(Box::<dyn std::error::Error + Send + Sync>::from(Blocked));
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "93.184.216.34",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::5db8:d822",
            "2001:200::1",
            "192.88.98.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "fec0::1",
            "64:ff9b:1::5db8:d822",
            "64:ff9b:0:1::5db8:d822",
            "3fff::1",
            "3fff:fff:1::1",
            "2001::1",
            "2001:20::1",
            "2001:1ff::1",
            "192.88.99.1",
            "2002:c058:6301::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[tokio::test]
    async fn a_name_that_points_to_this_machine_is_blocked() {
        let resolved = PublicOnly.resolve("localhost".parse().unwrap()).await;
        let Err(error) = resolved else {
            panic!("localhost was resolved");
        };
        assert!(error.is::<Blocked>());
    }
}
