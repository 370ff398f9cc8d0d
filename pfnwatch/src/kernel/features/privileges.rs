//! What this process may do.

use std::fs;
use std::path::Path;

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What the kernel lets this process do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    pub root: bool,
    /// The effective capabilities, one bit each (include/uapi/linux/capability.h).
    pub capabilities: u64,
    /// Whether the user namespace is the initial one: capabilities of another one do not count for eBPF.
    pub host_users: bool,
}

impl Privileges {
    /// Reads `procfs`/self; `None` if that is not readable.
    pub fn read(procfs: &Path) -> Option<Self> {
        let status = fs::read_to_string(procfs.join("self/status")).ok()?;
        // A kernel without user namespaces has no uid_map.
        let uid_map = fs::read_to_string(procfs.join("self/uid_map")).unwrap_or_default();
        Self::parse(&status, &uid_map)
    }

    fn parse(status: &str, uid_map: &str) -> Option<Self> {
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let effective_user = value("Uid")?.split_whitespace().nth(1)?;
        let identity = ["0", "0", "4294967295"];
        Some(Self {
            root: effective_user == "0",
            capabilities: u64::from_str_radix(value("CapEff")?.trim(), 16).ok()?,
            host_users: uid_map.is_empty() || uid_map.split_whitespace().eq(identity),
        })
    }

    const fn has(self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }

    /// The capabilities that eBPF programs at probes need and this process lacks: `bpf_capable()` and
    /// `perfmon_capable()` (include/linux/capability.h), which CAP_SYS_ADMIN satisfies, too.
    pub fn missing(self) -> Vec<&'static str> {
        let wanted = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")];
        let lacks = |capability| !self.has(capability) && !self.has(CAP_SYS_ADMIN);
        wanted.into_iter().filter(|(capability, _)| lacks(*capability)).map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(effective: &str, uid: &str, map: &str) -> Option<Privileges> {
        Privileges::parse(&format!("Name:\tx\nUid:\t1000\t{uid}\t0\t0\nCapEff:\t{effective}\n"), map)
    }

    const HOST: &str = "         0          0 4294967295\n";

    #[test]
    fn capabilities_are_told() {
        let root = parse("000001ffffffffff", "0", HOST).unwrap();
        assert!(root.root && root.host_users && root.missing().is_empty());
        let nobody = parse("0000000000000000", "1000", HOST).unwrap();
        assert!(!nobody.root);
        assert_eq!(nobody.missing(), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(parse("0000008000000000", "1000", HOST).unwrap().missing(), ["CAP_PERFMON"]);
        assert!(parse("000000c000000000", "1000", HOST).unwrap().missing().is_empty());
        assert!(parse("0000000000200000", "1000", HOST).unwrap().missing().is_empty(), "CAP_SYS_ADMIN includes both");
    }

    #[test]
    fn the_root_of_another_user_namespace_is_told() {
        assert!(!parse("000001ffffffffff", "0", "0 1000 1\n").unwrap().host_users);
        assert!(!parse("000001ffffffffff", "0", "0 100000 65536\n").unwrap().host_users);
        assert!(parse("000001ffffffffff", "0", "").unwrap().host_users);
    }

    #[test]
    fn a_status_that_does_not_tell_is_none() {
        assert_eq!(Privileges::parse("", ""), None);
        assert_eq!(parse("xyz", "0", HOST), None);
    }
}
