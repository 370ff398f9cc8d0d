//! Receivers that misbehave, on loopback.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use std::{fs, thread};

use super::*;
use crate::export::alerts::tests;

/// Answers one connection after another with `serve`, and returns what it read of the request.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = vec![0; 64 << 10];
            let read = stream.read(&mut request).unwrap_or(0);
            let _ = sender.send(String::from_utf8_lossy(&request[..read]).into_owned());
            serve(stream);
        }
    });
    (url, requests)
}

fn receiver(url: String) -> Receiver {
    tests::receiver("r", ReceiverKind::Alertmanager, &url)
}

fn message() -> Payload {
    Payload { key: "0123-firing".to_owned(), body: "[]".to_owned() }
}

fn answering(answer: &'static str) -> DeliveryResult {
    let (url, _requests) = server(move |mut stream| drop(stream.write_all(answer.as_bytes())));
    post(&receiver(url), &message())
}

#[test]
fn an_answer_is_taken_for_what_it_means() {
    assert_eq!(answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), DeliveryResult::Delivered);
    assert_eq!(answering("HTTP/1.1 204 No Content\r\n\r\n"), DeliveryResult::Delivered);
    for (answer, said) in [
        ("HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nno\ndisk", "it answered 500"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "503"),
        ("HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n", "401"),
        ("HTTP/1.1 404 Where\r\ncontent-length: 0\r\n\r\n", "404"),
        (
            "HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "redirects are not followed",
        ),
        (
            "HTTP/1.1 308 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "redirects are not followed",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
            "not an Alertmanager: <html>",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", ""),
        ("HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n", ""),
        ("", ""),
    ] {
        match answering(answer) {
            DeliveryResult::Failed { why, .. } => assert!(!why.is_empty() && why.contains(said), "{answer}: {why}"),
            other => panic!("{answer}: {other:?}"),
        }
    }
    assert_eq!(
        answering("HTTP/1.1 400 Bad\r\ncontent-length: 10\r\n\r\nbad\u{7} label"),
        DeliveryResult::Rejected("it answered 400 Bad Request: bad  label".to_owned())
    );
    let busy = answering("HTTP/1.1 429 Slow\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n");
    assert!(
        matches!(busy, DeliveryResult::Failed { wait: Some(wait), .. } if wait == Duration::from_secs(17)),
        "{busy:?}"
    );
}

#[test]
fn whoever_never_ends_is_left_in_time() {
    let hangs = |_stream: TcpStream| thread::sleep(Duration::from_secs(30));
    let drips = |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n");
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    };
    let headers = |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x-more: and more, and more, and more, and more, and more\r\n").is_ok() {}
    };
    let endless = |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n");
        while stream.write_all(b"400\r\n").and_then(|()| stream.write_all(&[b'x'; 1024])).is_ok() {
            let _ = stream.write_all(b"\r\n");
        }
    };
    let cases: [Box<dyn Fn(TcpStream) + Send>; 4] =
        [Box::new(hangs), Box::new(drips), Box::new(headers), Box::new(endless)];
    for serve in cases {
        let (url, _requests) = server(serve);
        let start = Instant::now();
        let outcome = post(&receiver(url), &message());
        assert!(start.elapsed() < Duration::from_secs(3), "{outcome:?} after {:?}", start.elapsed());
        assert!(matches!(&outcome, DeliveryResult::Failed { why, .. } if why.len() < 400), "{outcome:?}");
    }
}

#[test]
fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = post(&receiver(format!("http://{free}/hook?secret=1")), &message());
    assert!(matches!(&outcome, DeliveryResult::Failed { why, .. } if !why.contains("secret")), "{outcome:?}");
}

#[test]
fn the_request_says_what_it_has_to() {
    let (url, requests) = server(|mut stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "s3cret\n").unwrap();
    let receiver = Receiver { bearer_token_file: Some(file.path().to_owned()), ..receiver(url) };
    assert_eq!(post(&receiver, &message()), DeliveryResult::Delivered);
    let request = requests.recv().unwrap().to_ascii_lowercase();
    for part in [
        "post /hook http/1.1\r\n",
        "content-type: application/json\r\n",
        "idempotency-key: 0123-firing\r\n",
        "authorization: bearer s3cret\r\n",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    fs::write(file.path(), "two\nlines").unwrap();
    assert!(
        matches!(post(&receiver, &message()), DeliveryResult::Failed { why, .. } if why.contains("no token of one line"))
    );
}

/// A server with a self-signed certificate, once trusted and once not.
#[test]
fn https_believes_whom_it_is_told_to() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::Stream::new(&mut session, &mut stream);
            let mut request = [0; 4096];
            let _ = tls.read(&mut request);
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let receiver = Receiver { ca_file: Some(file.path().to_owned()), timeout: Duration::from_secs(5), ..receiver(url) };
    assert!(
        matches!(post(&receiver, &message()), DeliveryResult::Failed { why, .. } if why.contains("no certificate in it"))
    );
    fs::write(file.path(), made.cert.pem()).unwrap();
    assert_eq!(post(&receiver, &message()), DeliveryResult::Delivered);
    let stranger = Receiver { ca_file: None, ..receiver };
    assert!(matches!(post(&stranger, &message()), DeliveryResult::Failed { .. }));
}
