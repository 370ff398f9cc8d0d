//! Debug messages of the eBPF programs, through aya-log.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Reads the messages and hands them to the log.
pub struct DebugLog(EbpfLogger<&'static dyn log::Log>);

impl DebugLog {
    /// Begins to read the messages of the object's programs.
    ///
    /// # Errors
    /// The object has no such messages.
    pub fn open(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self(EbpfLogger::init(ebpf)?))
    }

    /// Logs what has come.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

impl AsFd for DebugLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for DebugLog {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
