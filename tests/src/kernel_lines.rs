//! The kernel lines of the tests, and which of them a test counts on.

use std::{fs, io};

/// The Debian kernel lines that are tested, the oldest first.
pub const KERNEL_LINES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];

/// The kernel line without module BTF, on which the agent can only report what is missing.
const BLIND: &str = "5.10";

/// Kernel lines for which a test counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lines {
    Every,
    /// Every line on which the agent can observe: all but 5.10.
    Observing,
    /// The oldest and the newest of those: for what does not depend on the kernel.
    OldestAndNewest,
    /// The oldest and the newest line that make dax devices of CXL memory (dax_cxl, since 6.3).
    MemoryDevices,
    /// Those and the line between them that does not return memmaps.
    MemoryDevicesAndLoss,
    /// The lines whose kernels for arm64 attach programs by trampolines: 6.12 and later.
    Arm64,
    /// One line: for long tests that depend on the agent only. They are spread over the lines.
    Only(&'static str),
    /// Only lines on which the agent cannot observe: 5.10.
    Blind,
}

impl Lines {
    pub fn contain(self, line: &str) -> bool {
        let observing = || KERNEL_LINES.iter().filter(|known| **known != BLIND);
        match self {
            Self::Every => true,
            Self::Observing => line != BLIND,
            Self::OldestAndNewest => observing().next() == Some(&line) || observing().next_back() == Some(&line),
            Self::MemoryDevices => ["6.12", "7.3"].contains(&line),
            Self::MemoryDevicesAndLoss => ["6.12", "6.18", "7.3"].contains(&line),
            Self::Arm64 => ["6.12", "6.18", "7.3"].contains(&line),
            Self::Only(one) => line == one,
            Self::Blind => line == BLIND,
        }
    }

    /// In words, for "not for this kernel line".
    pub fn words(self) -> &'static str {
        match self {
            Self::Every => "every line",
            Self::Observing => "every line but 5.10",
            Self::OldestAndNewest => "the oldest and the newest line",
            Self::MemoryDevices => "the oldest and the newest line with dax_cxl",
            Self::MemoryDevicesAndLoss => "every line with dax_cxl",
            Self::Arm64 => "6.12 and later",
            Self::Only(one) => one,
            Self::Blind => "5.10 only",
        }
    }
}

/// Whether Debian's kernel of this release does not return a memmap in DRAM when its device is disabled (commit bf9e4e30f353): 6.18.7
/// to 6.18.38 do not.
pub fn loses_memmap(release: &str) -> bool {
    let patch = release.strip_prefix("6.18.").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    patch.and_then(|patch| patch.parse().ok()).is_some_and(|patch: u32| (7..=38).contains(&patch))
}

/// What `pfnwatch kernel --running` ends with on this kernel: 3 if it does not return memmaps, which is a defect.
pub fn kernel_exit_code() -> io::Result<i32> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(if loses_memmap(release.trim()) { 3 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_kind() {
        let on = |lines: Lines| KERNEL_LINES.iter().filter(|line| lines.contain(line)).copied().collect::<Vec<_>>();
        assert_eq!(on(Lines::Every), KERNEL_LINES);
        assert_eq!(on(Lines::Observing), ["6.1", "6.12", "6.18", "7.3"]);
        assert_eq!(on(Lines::OldestAndNewest), ["6.1", "7.3"]);
        assert_eq!(on(Lines::MemoryDevices), ["6.12", "7.3"]);
        assert_eq!(on(Lines::MemoryDevicesAndLoss), ["6.12", "6.18", "7.3"]);
        assert_eq!(on(Lines::Arm64), ["6.12", "6.18", "7.3"]);
        assert_eq!(on(Lines::Only("6.12")), ["6.12"]);
        assert_eq!(on(Lines::Blind), ["5.10"]);
    }

    #[test]
    fn kernels_that_lose_memmaps() {
        for (release, loses) in [
            ("6.18.15+deb13-cloud-amd64", true),
            ("6.18.38+deb13-cloud-amd64", true),
            ("6.18.39+deb13-cloud-amd64", false),
            ("6.18.5+deb13-cloud-amd64", false),
            ("6.1.0-50-cloud-amd64", false),
            ("7.3.4+deb13-cloud-amd64", false),
        ] {
            assert_eq!(loses_memmap(release), loses, "{release}");
        }
    }
}
