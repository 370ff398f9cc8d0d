//! The agent's web server in a thread, over a made-up agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};

use pfnwatch::export::web::Web;
use pfnwatch::model::view::View;
use pfnwatch::model::web_config::WebConfig;
use tokio::sync::oneshot;

pub(crate) struct Served {
    pub(crate) address: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start(view: fn() -> View) -> Self {
        let (end, mut ended) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listen = "127.0.0.1:0".parse().unwrap();
                let mut web = Web::new(WebConfig { listen, ..WebConfig::default() });
                web.listen();
                ready.send(web.status().address.unwrap()).unwrap();
                loop {
                    tokio::select! {
                        call = web.next() => call.answer(view()),
                        _ = &mut ended => return,
                    }
                }
            });
        });
        Self { address: address.recv().unwrap(), end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        get(&self.address, path)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole reply: {said}")).1.to_owned()
}
