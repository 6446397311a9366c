//! Which addresses are special: everything that is not meant to be reached by anybody on the internet.
//!
//! The ranges are those of IANA's two registries of special-purpose addresses. The standard library knows some of them,
//! but its `is_global` is not stable. Of IPv6 only 2000::/3 is handed out at all, so everything beyond it is special
//! without a line of its own here; the lines give it a name. Addresses with an IPv4 address inside (mapped, translated,
//! tunnelled) are special whatever that address is: nobody needs them to name a public host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range: its first address, the length of its prefix in bits, and what it is.
type Range4 = (Ipv4Addr, u32, &'static str);
type Range6 = (Ipv6Addr, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

const SPECIAL_V4: [Range4; 16] = [
    (v4(0, 0, 0, 0), 8, "unspecified"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(100, 64, 0, 0), 10, "shared by a provider's customers"),
    (v4(127, 0, 0, 0), 8, "loopback"),
    (v4(169, 254, 0, 0), 16, "link-local"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(192, 0, 0, 0), 24, "for protocols"),
    (v4(192, 0, 2, 0), 24, "for documents"),
    (v4(192, 88, 99, 0), 24, "a 6to4 relay"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(198, 18, 0, 0), 15, "for benchmarks"),
    (v4(198, 51, 100, 0), 24, "for documents"),
    (v4(203, 0, 113, 0), 24, "for documents"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(255, 255, 255, 255), 32, "broadcast"),
    (v4(240, 0, 0, 0), 4, "reserved"),
];

/// The first that fits names it.
const SPECIAL_V6: [Range6; 17] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (v6(0x64, 0xff9b, 0), 96, "NAT64"),
    (v6(0x64, 0xff9b, 1), 48, "NAT64"),
    (v6(0x100, 0, 0), 64, "for discarding"),
    (v6(0x2001, 0, 0), 32, "Teredo"),
    (v6(0x2001, 0, 0), 23, "for protocols"),
    (v6(0x2001, 0xdb8, 0), 32, "for documents"),
    (v6(0x2002, 0, 0), 16, "6to4"),
    (v6(0x3fff, 0, 0), 20, "for documents"),
    (v6(0x5f00, 0, 0), 16, "for segment routing"),
    (v6(0xfc00, 0, 0), 7, "private"),
    (v6(0xfe80, 0, 0), 10, "link-local"),
    (v6(0xfec0, 0, 0), 10, "site-local"),
    (v6(0xff00, 0, 0), 8, "multicast"),
];

/// All that is handed out for the internet.
const HANDED_OUT_V6: Range6 = (v6(0x2000, 0, 0), 3, "");

/// What is special about an address; `None` for one that anybody may reach.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => SPECIAL_V4.iter().find(|range| in_v4(address, range)).map(|(_, _, what)| *what),
        IpAddr::V6(address) => match SPECIAL_V6.iter().find(|range| in_v6(address, range)) {
            Some((_, _, what)) => Some(what),
            None if in_v6(address, &HANDED_OUT_V6) => None,
            None => Some("reserved"),
        },
    }
}

fn in_v4(address: Ipv4Addr, (first, bits, _): &Range4) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= *bits
}

fn in_v6(address: Ipv6Addr, (first, bits, _): &Range6) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= *bits
}

#[cfg(test)]
mod tests {
    use super::special;

    #[test]
    fn each_special_range_is_known_from_its_first_address_to_its_last() {
        let cases = [
            ("unspecified", &["0.0.0.0", "0.0.0.1", "0.255.255.255", "::"][..]),
            ("private", &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"]),
            ("private", &["192.168.255.255", "fc00::", "fd12:3456::1", "fdff:ffff::1"]),
            ("shared by a provider's customers", &["100.64.0.0", "100.127.255.255"]),
            ("loopback", &["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"]),
            ("link-local", &["169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::1", "febf:ffff::1"]),
            ("for protocols", &["192.0.0.0", "192.0.0.170", "192.0.0.255", "2001:1::1", "2001:2::1", "2001:10::1"]),
            ("for protocols", &["2001:20::1", "2001:1ff:ffff::1"]),
            ("for documents", &["192.0.2.0", "198.51.100.255", "203.0.113.7", "2001:db8::1", "3fff:fff::1"]),
            ("a 6to4 relay", &["192.88.99.1"]),
            ("for benchmarks", &["198.18.0.0", "198.19.255.255"]),
            ("multicast", &["224.0.0.0", "239.255.255.255", "ff02::1", "ff0e::1"]),
            ("broadcast", &["255.255.255.255"]),
            ("reserved", &["240.0.0.0", "255.255.255.254", "4000::1", "1fff::1", "200::1", "f000::1"]),
            ("IPv4-mapped", &["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"]),
            ("IPv4-compatible", &["::127.0.0.1", "::8.8.8.8", "::2"]),
            ("NAT64", &["64:ff9b::7f00:1", "64:ff9b:1::a00:1", "64:ff9b:1:ffff::1"]),
            ("for discarding", &["100::1"]),
            ("Teredo", &["2001::1", "2001:0:ffff::1"]),
            ("6to4", &["2002:7f00:1::", "2002:a9fe:a9fe::1"]),
            ("for segment routing", &["5f00::1"]),
            ("site-local", &["fec0::1", "feff::1"]),
        ];
        for (what, addresses) in cases {
            for address in addresses {
                assert_eq!(special(address.parse().unwrap()), Some(what), "{address}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        let public = [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2a00::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ];
        for address in public {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }
}
