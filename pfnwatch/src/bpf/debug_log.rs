//! Debug messages of the eBPF programs, through aya-log.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::Ebpf;
use aya_log::EbpfLogger;

pub struct DebugLog(EbpfLogger<&'static dyn log::Log>);

impl DebugLog {
    pub fn open(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self(EbpfLogger::init(ebpf)?))
    }

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
