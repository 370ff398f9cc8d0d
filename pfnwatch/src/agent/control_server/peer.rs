//! Who is at the other end.

use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{fmt, fs, io};

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{UnixCredentials, getsockopt};

use super::connection::AccessPolicy;
use crate::model::event::Actor;

/// A login uid that was never set (AUDIT_UID_UNSET, include/uapi/linux/audit.h).
const NO_LOGIN: u32 = u32::MAX;

/// The process that asks, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id in the agent's pid namespace; 0 where it is from outside.
    pub pid: u32,
    /// Its effective user id when it connected.
    pub uid: u32,
    /// The name of the task; empty where it is gone already.
    pub comm: String,
    /// The user who logged in, also through su and sudo; `None` for a process without a login (a service), or if the kernel
    /// does not record logins.
    pub login_uid: Option<u32>,
    /// The path of its cgroup in the v2 hierarchy, where that is known.
    pub cgroup: Option<String>,
    pub access: Access,
}

/// What somebody may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// What changes nothing.
    ReadOnly,
}

/// What the kernel remembers of whoever connected, or listened.
pub(super) fn credentials(socket: &impl AsFd) -> io::Result<UnixCredentials> {
    Ok(getsockopt(socket, PeerCredentials)?)
}

impl Peer {
    /// The other end of a connection; the error of one that has no business here is its user id.
    pub(super) fn authorize(socket: &impl AsFd, policy: &AccessPolicy) -> io::Result<Result<Self, u32>> {
        let readers = policy.readers;
        let credentials = credentials(socket)?;
        let uid = credentials.uid();
        let access = if (policy.is_owner)(uid) {
            Access::Full
        } else if readers.is_some_and(|group| group.as_raw() == credentials.gid())
            || readers.map_or(Ok(false), |group| groups(socket).map(|its| its.contains(&group.as_raw())))?
        {
            Access::ReadOnly
        } else {
            return Ok(Err(uid));
        };
        let pid = u32::try_from(credentials.pid()).unwrap_or(0);
        // The agent's own procfs, whatever `--path.procfs` is: the pid belongs to the agent's own pid namespace.
        let folder = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| fs::read(folder.join(name)).ok();
        let login = read("loginuid").and_then(|text| str::from_utf8(&text).ok()?.trim().parse().ok());
        let peer = Self {
            pid,
            uid,
            comm: read("comm").map(|comm| printable(&comm)).unwrap_or_default(),
            login_uid: login.filter(|login| *login != NO_LOGIN),
            cgroup: read("cgroup").and_then(|text| cgroup_v2(&String::from_utf8_lossy(&text))),
            access,
        };
        Ok(Ok(peer))
    }
}

/// The groups that the other end was in besides its own when it connected (SO_PEERGROUPS, Linux 4.13).
fn groups(socket: &impl AsFd) -> io::Result<Vec<libc::gid_t>> {
    let mut groups = vec![0; 32];
    loop {
        let mut length = u32::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes to `groups`, which has so many, and the length that it takes.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let error = io::Error::last_os_error();
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        // The kernel has returned the needed size; the most is 65,536 groups (NGROUPS_MAX).
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// A task's name, which may hold any byte, as a text of one line.
fn printable(comm: &[u8]) -> String {
    let text = std::ffi::OsStr::from_bytes(comm.trim_ascii_end()).to_string_lossy();
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl From<&Peer> for Actor {
    /// As recorded in an event. Only the cgroup's path is known, not its id.
    fn from(peer: &Peer) -> Self {
        Self { pid: peer.pid, uid: peer.uid, comm: peer.comm.clone(), cgroup_id: 0, cgroup: peer.cgroup.clone() }
    }
}

/// The path in the v2 hierarchy, out of /proc/PID/cgroup: it is the line of hierarchy 0 (cgroups(7)).
fn cgroup_v2(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

impl fmt::Display for Peer {
    /// `pfnwatch (pid 4711, uid 0, login uid 1000)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = if self.comm.is_empty() { "a process" } else { &self.comm };
        write!(f, "{comm} (pid {}, uid {}", self.pid, self.uid)?;
        self.login_uid.map_or(Ok(()), |login| write!(f, ", login uid {login}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Gid;

    use super::*;

    #[test]
    fn who_is_said_in_one_line() {
        let peer = Peer {
            pid: 7,
            uid: 0,
            comm: printable(b"a\nb\xff\n"),
            login_uid: Some(1000),
            cgroup: None,
            access: Access::Full,
        };
        assert_eq!(peer.to_string(), "a\u{fffd}b\u{fffd} (pid 7, uid 0, login uid 1000)");
        let gone = Peer { comm: String::new(), login_uid: None, ..peer };
        assert_eq!(gone.to_string(), "a process (pid 7, uid 0)");
    }

    #[test]
    fn groups_of_a_peer_are_those_that_it_has() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut its = groups(&socket).unwrap();
        let mut ours: Vec<_> = nix::unistd::getgroups().unwrap().into_iter().map(Gid::as_raw).collect();
        its.sort_unstable();
        ours.sort_unstable();
        assert_eq!(its, ours);
        // Root, or the agent's own user, may do all, whoever else may look.
        let peer = Peer::authorize(&socket, &AccessPolicy::new(Some(Gid::from_raw(4711)))).unwrap().unwrap();
        assert_eq!(peer.access, Access::Full);
    }

    #[test]
    fn the_cgroup_is_that_of_the_v2_hierarchy() {
        assert_eq!(cgroup_v2("3:cpu:/a\n0::/user.slice/x:y\n").as_deref(), Some("/user.slice/x:y"));
        assert_eq!(cgroup_v2("3:cpu:/a\n"), None);
    }
}
