//! The table `[web]`: where the web server listens.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

const MAX_HOSTS: usize = 64;
const MAX_HOST_BYTES: usize = 253;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    pub enabled: bool,
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Accepted host names, besides `localhost` and addresses.
    #[serde(deserialize_with = "hosts")]
    pub hosts: Vec<String>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)), hosts: Vec::new() }
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || format!("listen is \"{text}\": it must be an address and a port, as 127.0.0.1:9464 or [::1]:9464");
    text.parse().map_err(|_| D::Error::custom(wrong()))
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    if hosts.len() > MAX_HOSTS {
        return Err(D::Error::custom(format!("hosts has more than {MAX_HOSTS} names")));
    }
    match hosts.iter().find(|host| !is_name(host)) {
        Some(host) => Err(D::Error::custom(format!(
            "hosts has \"{host}\": each must be a name without a port, as db1.example.com"
        ))),
        None => Ok(hosts.iter().map(|host| host.to_ascii_lowercase()).collect()),
    }
}

fn is_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.len() <= MAX_HOST_BYTES && host.bytes().all(fits)
}
