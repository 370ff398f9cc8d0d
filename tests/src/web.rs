//! A client of the agent's web server, in as few words as HTTP takes, so that a test can also say what no client would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Where the agent listens by default.
pub const ADDRESS: &str = "127.0.0.1:9464";
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Reply {
    /// Such as 200.
    pub status: u16,
    pub body: String,
}

pub fn connect() -> Result<TcpStream> {
    connect_to(ADDRESS)
}

fn connect_to(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Reads until the server closes, or breaks the connection off.
pub fn rest(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

pub fn get(path: &str) -> Result<Reply> {
    reply_to(connect()?, &format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n"), path)
}

/// Asks another server, which must send its reply in one piece and close.
pub fn ask(address: &str, path: &str) -> Result<Reply> {
    reply_to(connect_to(address)?, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), path)
}

fn reply_to(mut stream: TcpStream, request: &str, path: &str) -> Result<Reply> {
    stream.write_all(request.as_bytes())?;
    let said = rest(stream);
    let (head, body) = said.split_once("\r\n\r\n").with_context(|| format!("{path}: no whole reply: {said}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Reply { status: status.with_context(|| format!("{path}: no status: {head}"))?, body: body.to_owned() })
}

pub fn metrics() -> Result<String> {
    let reply = get("/metrics")?;
    ensure!(reply.status == 200, "/metrics: {reply:?}");
    Ok(reply.body)
}

/// The value of the one series whose line starts with `name`, and has all of `labels`.
pub fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let is_it = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            && labels.iter().all(|label| line.contains(label))
    };
    let lines: Vec<&str> = metrics.lines().filter(is_it).collect();
    let [line] = lines.as_slice() else { bail!("{name}{labels:?}: {} series in\n{metrics}", lines.len()) };
    let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok());
    value.with_context(|| format!("{line}: no whole number"))
}
