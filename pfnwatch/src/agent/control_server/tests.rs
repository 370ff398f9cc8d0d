use crate::model::policy::{Mode, ModeChoice};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::io::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::socket::{MsgFlags, recv};
use tempfile::TempDir;

use super::*;
use crate::model::control::{MAX_REQUEST_BYTES, ModeResponse, Released, Reply, Response, Revoked};
use crate::os::control_client::{ClientError, request, try_request};

const SHORT_TIMEOUTS: Limits = Limits { read: Duration::from_millis(300), write: Duration::from_millis(300) };

struct Place {
    _folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/control.sock");
    Place { _folder: folder, path }
}

thread_local! {
    /// How often the small agent was asked for its status.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// Runs a server with a small agent, while `clients` does what it does in a thread of its own.
fn serve<T: Send + 'static>(limits: Limits, clients: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
    serve_with(|server| server.limits = limits, clients)
}

fn serve_with<T: Send + 'static>(
    configure: impl FnOnce(&mut Server),
    clients: impl FnOnce(PathBuf) -> T + Send + 'static,
) -> T {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut server = Server::listen(&place.path).unwrap();
        configure(&mut server);
        let path = place.path.clone();
        let (done, mut over) = oneshot::channel();
        thread::spawn(move || done.send(clients(path)));
        loop {
            tokio::select! {
                call = server.next() => handle(call),
                result = &mut over => return result.unwrap(),
                // An agent has other things to do: `next` is cancelled all the time.
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    })
}

fn handle(call: PendingRequest) {
    assert_eq!((call.peer.pid, call.peer.uid), (std::process::id(), geteuid()));
    let answer = match call.request {
        Request::Mode { mode, .. } => Ok(Response::Mode(ModeResponse {
            mode: mode.mode().unwrap_or(Mode::Audit),
            previous_mode: Mode::Audit,
            ineffective_reason: None,
        })),
        Request::Revoke { id } => Ok(Response::Revoked(Revoked { id })),
        Request::Release => return drop(call.responder),
        Request::Status => {
            ASKED.set(ASKED.get() + 1);
            Err(ErrorResponse::unsupported("not here"))
        }
        // Far more than a socket holds.
        Request::Block { .. } => {
            Ok(Response::Released(Released { removed: vec!["x".repeat(1 << 22)], still_guarding: true }))
        }
        _ => Err(ErrorResponse::unsupported("not here")),
    };
    call.responder.answer(answer);
}

fn geteuid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn revoke(path: &Path, id: u64) -> Result<Response, ClientError> {
    try_request(path, &Request::Revoke { id })
}

/// The agent's answer to raw bytes.
fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    // It may close while we still write.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

#[test]
fn clients_are_answered_side_by_side() {
    serve(Limits::default(), |path| {
        let ask = |id: u64| {
            let path = path.clone();
            thread::spawn(move || {
                for id in (id * 100)..(id * 100 + 50) {
                    assert!(matches!(revoke(&path, id), Ok(Response::Revoked(revoked)) if revoked.id == id));
                }
            })
        };
        for client in [1, 2, 3].map(ask) {
            client.join().unwrap();
        }
    });
}

#[test]
fn a_refusal_and_silence_of_the_loop_are_told() {
    let (refused, dropped) = serve(Limits::default(), |path| {
        (request(&path, &Request::Status).unwrap_err(), request(&path, &Request::Release).unwrap_err())
    });
    assert_eq!(crate::model::exit::Exit::from_error(&refused), crate::model::exit::Exit::Unsupported);
    assert!(dropped.to_string().contains("ended before"), "{dropped}");
}

#[test]
fn whoever_says_nothing_is_let_go_and_holds_nobody_up() {
    serve(SHORT_TIMEOUTS, |path| {
        // More than are served at a time: the others wait for them, and no longer than the limit.
        let mut silent: Vec<_> = (0..MAX_CONNECTIONS + 2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        silent[0].write_all(b"{\"schema\":1,").unwrap();
        let began = Instant::now();
        assert!(revoke(&path, 5).is_ok());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let mut said = String::new();
        silent[0].read_to_string(&mut said).unwrap();
        assert!(said.contains("no whole request came"), "{said}");
    });
}

/// A server for which nobody is root, and all are members of the readers' group.
fn for_members(server: &mut Server) {
    server.access.readers = Some(nix::unistd::getegid());
    server.access.is_owner = |_| false;
}

#[test]
fn members_of_the_group_leave_one_connection_to_root() {
    static IS_ROOT: AtomicBool = AtomicBool::new(false);
    let configure = |server: &mut Server| {
        for_members(server);
        server.access.is_owner = |_| IS_ROOT.load(Ordering::SeqCst);
    };
    serve_with(configure, |path| {
        let silent: Vec<_> = (0..MAX_CONNECTIONS - 1).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let refused = try_request(&path, &Request::Alerts).unwrap_err().to_string();
        assert!(refused.contains("too many connections"), "{refused}");
        IS_ROOT.store(true, Ordering::SeqCst);
        assert!(revoke(&path, 5).is_ok());
        IS_ROOT.store(false, Ordering::SeqCst);
        drop(silent);
        let served = |_: &u32| {
            thread::sleep(Duration::from_millis(20));
            try_request(&path, &Request::Alerts).is_err_and(|error| error.to_string() == "not here")
        };
        assert!((0..500).any(|attempt| served(&attempt)), "their connections have ended");
    });
}

#[test]
fn requests_of_members_reach_the_loop_once_a_second() {
    let flood = |path: PathBuf| {
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(request(&path, &Request::Status).unwrap_err().to_string(), "not here");
        }
        begun.elapsed()
    };
    let lasted = serve_with(for_members, flood);
    assert!((1..=2 + lasted.as_secs()).contains(&ASKED.take().into()), "in {lasted:?}");
    serve(Limits::default(), flood);
    assert_eq!(ASKED.take(), 100, "root gets the present state each time");
}

#[test]
fn too_much_and_nonsense_are_refused() {
    serve(Limits::default(), |path| {
        assert!(raw(&path, &vec![b'x'; 10 * MAX_REQUEST_BYTES]).contains("longer than 65536 bytes"));
        let mut just_fits = vec![b' '; MAX_REQUEST_BYTES];
        let request = br#"{"schema":1,"request":{"revoke":{"id":9}}}"#;
        just_fits[..request.len()].copy_from_slice(request);
        *just_fits.last_mut().unwrap() = b'\n';
        assert!(raw(&path, &just_fits).contains(r#"{"revoked":{"id":9}}"#));
        assert!(raw(&path, b"\0\xff\n").contains("malformed"));
        assert!(revoke(&path, 5).is_ok(), "it goes on");
    });
}

#[test]
fn a_peer_that_goes_away_harms_nobody() {
    serve(SHORT_TIMEOUTS, |path| {
        for bytes in [&b""[..], b"{", b"{\"schema\":1,\"request\":{\"revoke\":{\"id\":1}}}\n"] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(bytes).unwrap();
        }
        // One that asks for much and never reads: its reply does not fit into the socket.
        let mut deaf = UnixStream::connect(&path).unwrap();
        let much = Request::Block { namespace: "namespace0.0".to_owned() };
        deaf.write_all(&much.line().unwrap()).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(revoke(&path, 2).is_ok());
        thread::sleep(SHORT_TIMEOUTS.write);
        drop(deaf);
        assert!(revoke(&path, 3).is_ok());
    });
}

#[test]
fn the_socket_is_roots_alone_and_goes_with_the_server() {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let server = Server::listen(&place.path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&place.path), mode(place.path.parent().unwrap())), (0o600, 0o700));
    drop(server);
    assert!(!place.path.exists());
    assert!(matches!(revoke(&place.path, 1), Err(ClientError::NoAgent(_))));
}

#[test]
fn readers_reach_the_socket_and_may_ask_what_changes_nothing() {
    let place = place();
    let group = nix::unistd::getegid();
    let (_listener, bound) = address::bind(&place.path, Some(group)).unwrap();
    let found = fs::metadata(&place.path).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, group.as_raw()));
    drop(bound);
    assert!(!place.path.exists());
    let changes = [
        Request::Mode { mode: ModeChoice::Audit, reason: None },
        Request::Revoke { id: 1 },
        Request::Release,
        Request::Block { namespace: "namespace0.0".to_owned() },
        Request::InfoBlocks,
    ];
    assert!(Request::Status.is_read_only() && Request::Alerts.is_read_only());
    assert!(!changes.iter().any(Request::is_read_only));
}

#[test]
fn a_dead_agents_socket_is_replaced_and_a_live_ones_is_not() {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    // Dropped without its name being taken away: that is what kill -9 leaves.
    fs::create_dir(place.path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&place.path).unwrap());
    assert!(matches!(revoke(&place.path, 1), Err(ClientError::NoAgent(_))));
    let first = Server::listen(&place.path).unwrap();
    let error = format!("{:#}", Server::listen(&place.path).err().unwrap());
    assert!(error.contains(&format!("(pid {}) listens there already", std::process::id())), "{error}");
    // Nobody accepts here: once the waiting room is full it is still a live one.
    let waiting: Vec<_> = std::iter::repeat_with(|| crate::os::control_socket::try_connect(&place.path).unwrap())
        .take_while(|dialled| matches!(dialled, crate::os::control_socket::ConnectOutcome::Connected(_)))
        .take(100)
        .collect();
    assert!(waiting.len() < 100);
    assert!(format!("{:#}", Server::listen(&place.path).err().unwrap()).contains("listens there already"));
    assert!(revoke(&place.path, 1).unwrap_err().to_string().contains("does not accept connections"));
    // Another agent's socket at the same path is left alone when ours closes.
    fs::remove_file(&place.path).unwrap();
    let second = Server::listen(&place.path).unwrap();
    drop(first);
    assert!(place.path.exists());
    drop(second);
}

#[test]
fn of_agents_that_start_at_once_one_listens() {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..20 {
        let start = || {
            let _inside = runtime.enter();
            Server::listen(&place.path).map_err(|error| format!("{error:#}"))
        };
        let started: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started.iter().filter(|server| server.is_ok()).count(), 1);
        assert!(
            started.iter().flat_map(|server| server.as_ref().err()).all(|why| why.contains("listens there already"))
        );
    }
}

#[test]
fn a_place_that_is_not_fit_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let refused = |path: &Path, said: &str| {
        let error = format!("{:#}", Server::listen(path).err().unwrap());
        assert!(error.contains(said), "{}: {error}", path.display());
    };
    let place = place();
    let folder = place.path.parent().unwrap();
    fs::create_dir(folder).unwrap();
    fs::write(&place.path, "precious").unwrap();
    refused(&place.path, "not a socket");
    fs::remove_file(&place.path).unwrap();
    symlink("/nowhere", &place.path).unwrap();
    refused(&place.path, "not a socket");
    refused(&place.path.with_file_name("x".repeat(100)), "SUN_LEN");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)).unwrap();
    refused(&place.path, "only root can write to");
    refused(&folder.join("a/b/control.sock"), "making the directory");
}

/// A Unix socket that is closed with unread data reports a reset to the other side, after the answer.
#[test]
fn an_answer_before_the_request_was_read_is_heard() {
    let place = place();
    fs::create_dir(place.path.parent().unwrap()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&place.path).unwrap();
    let agent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK).unwrap();
        stream.write_all(&Reply::from(Err(ErrorResponse::unsupported("not you"))).line()).unwrap();
    });
    assert_eq!(request(&place.path, &Request::Status).unwrap_err().to_string(), "not you");
    agent.join().unwrap();
}
