//! Under which names requests are answered. A web page elsewhere can have its own name resolve to this host's address, and then
//! read through a visitor's browser what only this host may (DNS rebinding): but the request comes under that name.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a `Host` (`localhost:9464`, `[::1]:9464`, `db1.example.com`) is an address, `localhost`, or one of `names`,
/// which are in lower case.
pub(super) fn is_allowed(host: &str, names: &[String]) -> bool {
    let Some(name) = host_name(host) else { return false };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || names.contains(&name)
}

/// Without the port; `None` if that is no number.
fn host_name(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            (port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
        }
        _ => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_names_of_the_configuration() {
        let names = ["db1.example.com".to_owned()];
        for host in
            ["127.0.0.1:9464", "10.0.0.7", "[::1]:9464", "[fe80::1]", "localhost:80", "LocalHost", "DB1.example.com."]
        {
            assert!(is_allowed(host, &names), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9464",
            "db1.example.com.evil.example",
            "[::1",
            "[::1]x",
            "::1",
            "127.0.0.1:9464:80",
            "127.0.0.1:x",
            "[evil.example]:80",
        ] {
            assert!(!is_allowed(host, &names), "{host}");
        }
    }
}
