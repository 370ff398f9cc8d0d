//! Where the socket is: made so that nobody else can reach it, and so that there is one agent.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind as bind_socket, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, geteuid};

use crate::os::control_socket::{ConnectOutcome, address, try_connect};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 16;

/// How often the directory's lock is tried for, and how long after one try the next comes.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The socket's name in the file system, which goes with this.
pub(super) struct Bound {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Only our own socket: another agent may have bound its own here by now, or be about to.
        let Ok(_held) = lock_directory(directory_of(&self.path)) else { return };
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.device_and_inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Opens the socket: non-blocking, mode 0600, or 0660 for its readers, in a directory that nobody else writes to.
pub(super) fn bind(path: &Path, readers: Option<Gid>) -> anyhow::Result<(UnixListener, Bound)> {
    let about = || format!("the control socket {}", path.display());
    // Held until the socket listens: of two agents that start at once the second must find the first.
    let _held = lock_directory(directory_of(path)).with_context(about)?;
    remove_stale(path).with_context(about)?;
    let listener = open(path).with_context(about)?;
    if let Some(group) = readers {
        open_to(path, group).with_context(about)?;
    }
    let found = fs::symlink_metadata(path).with_context(about)?;
    Ok((listener, Bound { path: path.to_owned(), device_and_inode: identity(&found) }))
}

/// Its name took its mode less what the process masks, which may be all that others get: so it is given afterwards.
fn open_to(path: &Path, group: Gid) -> io::Result<()> {
    chown(path, None, Some(group.as_raw()))?;
    fs::set_permissions(path, Permissions::from_mode(0o660))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Makes the directory (0700) where it is not there, sees to it that nobody else can write to it, and locks it.
fn lock_directory(directory: &Path) -> anyhow::Result<Flock<File>> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making the directory {}", directory.display()));
        }
        _ => {}
    }
    let opened = File::open(directory).with_context(|| format!("opening {}", directory.display()))?;
    let found = opened.metadata().with_context(|| format!("looking at {}", directory.display()))?;
    let ours = found.uid() == 0 || found.uid() == geteuid().as_raw();
    ensure!(
        found.is_dir() && ours && found.mode() & 0o022 == 0,
        "{} is not a directory that only root can write to: another user could create a socket there: \
         `chown root` and `chmod 700` it, or name another one with --control-socket",
        directory.display()
    );
    lock(opened).context("another agent is starting or ending at this moment: try again")
}

/// Locks it, as soon as whoever holds it lets go: nobody does so for long.
fn lock(mut directory: File) -> anyhow::Result<Flock<File>> {
    let mut tries = 0;
    loop {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err((back, nix::Error::EAGAIN)) if tries < LOCK_ATTEMPTS => directory = back,
            Err((_, error)) => return Err(error.into()),
        }
        tries += 1;
        thread::sleep(LOCK_RETRY_INTERVAL);
    }
}

/// Removes what an agent left that is gone.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.context("looking at it")?,
    };
    ensure!(
        found.file_type().is_socket(),
        "a file of this name exists that is not a socket: remove it if it is not needed"
    );
    match try_connect(path).context("looking whether an agent listens there")? {
        ConnectOutcome::NoListener => fs::remove_file(path).context("removing the socket of an agent that is gone"),
        ConnectOutcome::Busy => bail!(already_running("a pfnwatch agent")),
        ConnectOutcome::Connected(stream) => {
            let pid = super::peer::credentials(&stream).map(|credentials| credentials.pid());
            bail!(already_running(
                &pid.map_or_else(|_| "a pfnwatch agent".to_owned(), |pid| format!("a pfnwatch agent (pid {pid})"))
            ))
        }
    }
}

fn already_running(who: &str) -> String {
    format!("{who} listens there already, and two must not run: `pfnwatch status` shows it; stop it first")
}

fn open(path: &Path) -> anyhow::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).context("making a socket")?;
    // The name in the file system takes its mode from the socket (unix_bind_bsd, net/unix/af_unix.c since 3.10), so that
    // it has never another one.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).context("making it root's")?;
    bind_socket(socket.as_raw_fd(), &address(path)?).context("giving it its name")?;
    listen(&socket, Backlog::new(BACKLOG)?).context("listening")?;
    Ok(socket.into())
}
