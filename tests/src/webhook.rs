//! A webhook that receives alerts as JSON.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub struct Webhook {
    pub address: SocketAddr,
    told: Receiver<Value>,
}

impl Webhook {
    /// A webhook that answers so many requests with 503 before it accepts any.
    pub fn refusing_first(count: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no place for a webhook")?;
        let (address, (sender, told)) = (listener.local_addr()?, mpsc::channel());
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let taken = number >= count;
                if let (Ok(message), true) = (answer(stream, taken), taken) {
                    let _ = sender.send(message);
                }
            }
        });
        Ok(Self { address, told })
    }

    pub fn next(&self, limit: Duration) -> Result<Value> {
        self.told.recv_timeout(limit).with_context(|| format!("no message came within {} s", limit.as_secs()))
    }

    pub fn waiting(&self) -> Vec<Value> {
        self.told.try_iter().collect()
    }
}

fn answer(mut stream: TcpStream, taken: bool) -> Result<Value> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let body = loop {
        let read = stream.read(&mut chunk)?;
        ensure!(read > 0, "a request without an end");
        request.extend(chunk.iter().take(read));
        let text = String::from_utf8_lossy(&request);
        if let Some(body) = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()) {
            break body;
        }
    };
    let status = if taken { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(body)
}
