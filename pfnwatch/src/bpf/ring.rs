//! The ring buffer of records.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use pfnwatch_common::names;

pub struct Ring(RingBuf<MapData>);

impl Ring {
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let map = ebpf.take_map(names::RECORDS).context("the eBPF object has no map RECORDS")?;
        Ok(Self(map.try_into().context("cannot use the map RECORDS")?))
    }

    pub fn take_record(&mut self) -> Option<Bytes> {
        self.0.next().map(|record| Bytes::copy_from_slice(&record))
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
