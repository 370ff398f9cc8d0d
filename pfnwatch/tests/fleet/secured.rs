//! `pfnwatch fleet` against a Prometheus that wants TLS and a password, and against one behind a proxy that wants a token.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, thread};

use pfnwatch::export::http_client;

use super::stack::{TIMEOUT, prometheus, wait};

/// bcrypt of `correct horse`, of the lowest cost: it is computed for each request.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";

fn fleet(address: &str, more: &[&str]) -> Output {
    let question = ["fleet", "--prometheus", address, "--format", "json"];
    Command::new(env!("CARGO_BIN_EXE_pfnwatch")).args(question).args(more).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn certificates(folder: &Path) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in [("ca.pem", authority.pem()), ("server.pem", server.pem()), ("key.pem", key.serialize_pem())] {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
#[ignore = "needs Prometheus: `cargo xtask fleet-sim` runs it"]
fn tls_with_an_own_ca_and_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    certificates(folder.path());
    let web = "{tls_server_config: {cert_file: server.pem, key_file: key.pem}, basic_auth_users: {owner: 'HASH'}}\n";
    let web = file("web.yml", &web.replace("HASH", HASH));
    let (_program, address) = prometheus(folder.path(), "{}\n", &[format!("--web.config.file={web}")]);
    wait("Prometheus", TIMEOUT, || TcpStream::connect(address).ok());
    let (url, ca) = (format!("https://localhost:{}", address.port()), folder.path().join("ca.pem"));
    let ca = ["--ca-file", ca.to_str().unwrap()];
    let right = file("right", "owner:correct horse\n");
    let wrong = file("wrong", "owner:battery staple\n");
    let with = |auth: &str| fleet(&url, &[ca.as_slice(), &["--basic-auth-file", auth]].concat());
    // It answers, once it has started, and knows no agent.
    wait("an answer", TIMEOUT, || stderr(&with(&right)).contains("no host is known").then_some(()));
    assert_eq!(with(&right).status.code(), Some(1));
    for (what, output, expected) in [
        ("a wrong password", with(&wrong), "401 Unauthorized: it rejects the credentials"),
        ("no password", fleet(&url, &ca), "401 Unauthorized: it rejects the credentials"),
        (
            "a token, which Prometheus itself does not know",
            fleet(&url, &[&ca[..], &["--bearer-token-file", &right]].concat()),
            "no token of one line",
        ),
        ("no CA", fleet(&url, &["--basic-auth-file", &right]), "invalid peer certificate: UnknownIssuer"),
        ("plain HTTP", fleet(&url.replace("https", "http"), &["--basic-auth-file", &right]), "400 Bad Request"),
        ("another name", fleet(&url.replace("localhost", "127.0.0.1"), &ca), "certificate not valid for name"),
        ("no such file", with("/nonexistent/password"), "basic_auth_file /nonexistent/password"),
    ] {
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(expected), "{what}: {said}");
        assert!(!said.contains("correct horse") && !said.contains("battery staple"), "{what} prints a secret: {said}");
    }
    a_token_is_what_a_proxy_wants(&url, &right, &ca);
}

/// Prometheus does not check tokens: a proxy before it does. It accepts plain text here, and forwards as a client
/// would.
fn a_token_is_what_a_proxy_wants(url: &str, password: &str, ca: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}/team/prom", listener.local_addr().unwrap());
    let (url, password) = (url.to_owned(), fs::read_to_string(password).unwrap());
    let ca = PathBuf::from(ca[1]);
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| pass_on(stream, &url, password.trim(), &ca)));
    let folder = tempfile::tempdir().unwrap();
    let token = |text: &str| {
        let file = folder.path().join("token");
        fs::write(&file, text).unwrap();
        fleet(&proxy, &["--bearer-token-file", file.to_str().unwrap()])
    };
    let taken = token("s3cr3t\n");
    assert!(stderr(&taken).contains("no host is known"), "{taken:?}");
    let refused = token("other");
    assert!(stderr(&refused).contains("403 Forbidden: it rejects the credentials"), "{refused:?}");
}

fn pass_on(stream: TcpStream, url: &str, password: &str, ca: &Path) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    for line in head.to_lowercase().lines() {
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let mut stream = reader.into_inner();
    let asked = head.starts_with("POST /team/prom/api/v1/query ");
    if !asked || !head.to_lowercase().contains("authorization: bearer s3cr3t\r\n") {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    }
    let body = forwarded(url, password, ca, &form);
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
}

fn forwarded(url: &str, password: &str, ca: &Path, form: &[u8]) -> String {
    let agent = http_client::agent(url, TIMEOUT, Some(ca)).unwrap();
    let basic = data_encoding::BASE64.encode(password.as_bytes());
    let request = agent.post(format!("{url}/api/v1/query")).content_type("application/x-www-form-urlencoded");
    let mut response = request.header("authorization", format!("Basic {basic}")).send(form).unwrap();
    response.body_mut().read_to_string().unwrap()
}
