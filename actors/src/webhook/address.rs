//! Which addresses webhooks are sent to: public ones, and those that an operator allows.
//!
//! A name is resolved by us, every address that it has is looked at, and the connection goes to one that passed. So
//! neither an odd spelling nor a name that changes its mind leads anywhere else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};

use super::names::Names;

/// Below it stand the services of a machine itself; webhooks use those of the web.
const FIRST_FREE_PORT: u16 = 1024;
const WEB_PORTS: [u16; 2] = [80, 443];

/// `10.0.0.0/8`, `fd00::/8`: addresses by their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} must look like 10.0.0.0/8 or fd00::/8");
        let (network, bits) = text.split_once('/').ok_or_else(wrong)?;
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { network, bits })
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl Cidr {
    const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Self {
        Self { network: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), bits }
    }

    /// Does the address lie in it?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let unlike = u32::from(network) ^ u32::from(address);
                unlike.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let unlike = u128::from(network) ^ u128::from(address);
                unlike.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// What is not public, with what it is called.
const BLOCKED: [(Cidr, &str); 28] = [
    (Cidr::v4(0, 0, 0, 0, 8), "this network"),
    (Cidr::v4(10, 0, 0, 0, 8), "private"),
    (Cidr::v4(100, 64, 0, 0, 10), "shared by carriers"),
    (Cidr::v4(127, 0, 0, 0, 8), "loopback"),
    (Cidr::v4(169, 254, 0, 0, 16), "link-local"),
    (Cidr::v4(172, 16, 0, 0, 12), "private"),
    (Cidr::v4(192, 0, 0, 0, 24), "reserved"),
    (Cidr::v4(192, 0, 2, 0, 24), "documentation"),
    (Cidr::v4(192, 88, 99, 0, 24), "reserved"),
    (Cidr::v4(192, 168, 0, 0, 16), "private"),
    (Cidr::v4(198, 18, 0, 0, 15), "benchmarking"),
    (Cidr::v4(198, 51, 100, 0, 24), "documentation"),
    (Cidr::v4(203, 0, 113, 0, 24), "documentation"),
    (Cidr::v4(224, 0, 0, 0, 4), "multicast"),
    // Broadcast is among them.
    (Cidr::v4(240, 0, 0, 0, 4), "reserved"),
    // Unspecified, loopback, and IPv4 in its oldest disguise.
    (Cidr::v6(0, 0, 0, 96), "loopback or IPv4-compatible"),
    // What carries an IPv4 address inside. A mapped one is looked at as what it is before this table is.
    (Cidr::v6(0x64, 0xff9b, 0, 96), "NAT64"),
    (Cidr::v6(0x64, 0xff9b, 1, 48), "NAT64"),
    (Cidr::v6(0x2002, 0, 0, 16), "6to4"),
    // Teredo, ORCHID and benchmarking are among them.
    (Cidr::v6(0x2001, 0, 0, 23), "Teredo or reserved"),
    (Cidr::v6(0x100, 0, 0, 64), "discard"),
    (Cidr::v6(0x2001, 0xdb8, 0, 32), "documentation"),
    (Cidr::v6(0x3fff, 0, 0, 20), "documentation"),
    (Cidr::v6(0x5f00, 0, 0, 16), "segment routing"),
    (Cidr::v6(0xfc00, 0, 0, 7), "private"),
    (Cidr::v6(0xfe80, 0, 0, 10), "link-local"),
    (Cidr::v6(0xfec0, 0, 0, 10), "site-local"),
    (Cidr::v6(0xff00, 0, 0, 8), "multicast"),
];

/// Outside of it no IPv6 address is public yet.
const GLOBAL: Cidr = Cidr::v6(0x2000, 0, 0, 3);

/// Why an address is refused: a class, never the address, so that nobody maps a network by asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// It is not public.
    #[error("its address is not public ({0})")]
    Class(&'static str),
    /// It is this server's own.
    #[error("its address is this server's own")]
    Ourselves,
    /// No web service is there.
    #[error("its port must be 80, 443 or at least 1024")]
    Port,
    /// In the clear, where that is not allowed.
    #[error("it must begin with https://")]
    InTheClear,
}

/// What operators allow, who tells what names stand for, and where this server itself listens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Arc<[Cidr]>,
    /// `http://` may be used.
    pub(super) allow_http: bool,
    pub(super) names: Names,
    own: Arc<RwLock<Vec<SocketAddr>>>,
}

impl AddressPolicy {
    /// Public addresses, and those of `allowed`.
    #[must_use]
    pub fn new(allowed: &[Cidr], allow_http: bool) -> Self {
        Self { allowed: allowed.into(), allow_http, ..Self::default() }
    }

    /// The same, with names as those nameservers know them, instead of as this machine does.
    #[must_use]
    pub fn with_nameservers(self, nameservers: &[SocketAddr]) -> Self {
        Self { names: Names::as_known_to(nameservers), ..self }
    }

    /// This server listens there.
    pub fn is_own(&self, address: SocketAddr) {
        self.own.write().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// May something be sent there?
    ///
    /// # Errors
    /// See [`NotAllowed`].
    pub fn check(&self, address: SocketAddr) -> Result<(), NotAllowed> {
        let ip = address.ip().to_canonical();
        if self.is_ourselves(ip, address.port()) {
            return Err(NotAllowed::Ourselves);
        }
        if self.allowed.iter().any(|cidr| cidr.contains(ip)) {
            return Ok(());
        }
        if let Some((_, class)) = BLOCKED.iter().find(|(cidr, _)| cidr.contains(ip)) {
            return Err(NotAllowed::Class(class));
        }
        if ip.is_ipv6() && !GLOBAL.contains(ip) {
            return Err(NotAllowed::Class("reserved"));
        }
        if address.port() < FIRST_FREE_PORT && !WEB_PORTS.contains(&address.port()) {
            return Err(NotAllowed::Port);
        }
        Ok(())
    }

    fn is_ourselves(&self, ip: IpAddr, port: u16) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|listener| listener.port() == port).any(|listener| {
            let everywhere = listener.ip().is_unspecified();
            listener.ip().to_canonical() == ip || everywhere && is_of_this_machine(ip)
        })
    }
}

/// Only an address of this machine can be bound; port 0 takes none away.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(ip: &str) -> Result<(), NotAllowed> {
        AddressPolicy::default().check(SocketAddr::new(ip.parse().unwrap(), 443))
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_disguise() {
        for ip in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "100::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "4000::1",
            "9000::1",
            "e000::1",
        ] {
            assert!(class(ip).is_err(), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(class(ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn an_operator_allows_networks_but_never_ourselves() {
        let policy = AddressPolicy::new(&["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], true);
        let own = SocketAddr::from(([0, 0, 0, 0], 8080));
        policy.is_own(own);
        let check = |address: &str| policy.check(address.parse().unwrap());
        assert_eq!(check("127.0.0.1:8081"), Ok(()));
        assert_eq!(check("[::ffff:127.0.0.1]:22"), Ok(()));
        assert_eq!(check("[fd00::1]:80"), Ok(()));
        assert_eq!(check("127.0.0.1:8080"), Err(NotAllowed::Ourselves));
        assert!(matches!(check("10.0.0.1:80"), Err(NotAllowed::Class(_))));
        assert_eq!(check("1.1.1.1:22"), Err(NotAllowed::Port));
    }

    #[test]
    fn a_network_is_an_address_and_a_number_of_bits() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "127.0.0.1/32"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1", ""] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
