//! The one line on standard output that says that requests are accepted.
//!
//! `ready namesrv=IP:PORT broker=IP:PORT admin=IP:PORT`: programs wait for it and read the addresses out of it. A wildcard address is
//! shown as the loopback address, where a client on this machine reaches it.

use std::io::{Result, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub fn print(addresses: &[(&str, SocketAddr)]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line(addresses))?;
    out.flush()
}

fn line(addresses: &[(&str, SocketAddr)]) -> String {
    let mut line = "ready".to_owned();
    for (name, addr) in addresses {
        line += &format!(" {name}={}", reachable(*addr));
    }
    line
}

fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
    }
    addr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_address_that_a_client_can_use() {
        let line = line(&[
            ("namesrv", "0.0.0.0:9876".parse().unwrap()),
            ("broker", "10.1.2.3:10911".parse().unwrap()),
        ]);
        assert_eq!(line, "ready namesrv=127.0.0.1:9876 broker=10.1.2.3:10911");
    }
}
