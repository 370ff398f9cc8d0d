//! The work, and what it needs.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Work;
use crate::creation::{self, Mode, NamespaceSpec, PreparedNamespace};
use crate::{namespace, sysfs, sysfs_load};

/// The namespace that is never made: large enough for half a memmap to be more than an align.
const NAMESPACE_BYTES: u64 = 1 << 30;
const ALIGN_BYTES: u64 = 2 << 20;
const HEARD: Duration = Duration::from_secs(2);

pub struct Ground {
    region: String,
    /// A btt device without a namespace: nd_pmem refuses it.
    other: String,
    /// A creation that the kernel itself refuses.
    creation: PreparedNamespace,
}

impl Ground {
    pub fn prepare(region: &str) -> Result<Self> {
        let creation = creation(region)?;
        Ok(Self { region: region.to_owned(), other: sysfs::seed(region, "btt_seed")?, creation })
    }

    /// Makes the namespace again under a running agent: it has not inspected one that existed before, and the guard
    /// does not judge such a one.
    pub fn renew(&mut self) -> Result<()> {
        namespace::destroy(&self.creation.namespace)?;
        // The agent has to hear of that before there is another in its place.
        sleep(HEARD);
        self.creation = creation(&self.region)?;
        Ok(())
    }

    pub fn holder(&self) -> &str {
        &self.creation.holder
    }

    pub fn work(&self, work: Work, times: u16) -> Result<()> {
        match work {
            Work::Cgroups => sysfs_load::cgroups(times.into()),
            Work::Devices => sysfs_load::loop_devices(times.into()),
            Work::OtherBind => (0..times).try_for_each(|_| refused(sysfs::bind(&self.other, "nd_pmem"), &self.other)),
            Work::Creation => (0..times).try_for_each(|_| refused(self.creation.bind(), &self.creation.holder)),
        }
    }
}

fn creation(region: &str) -> Result<PreparedNamespace> {
    sysfs::write(region, "read_only", "0")?;
    let creation = creation::prepare(&NamespaceSpec {
        align_bytes: ALIGN_BYTES,
        ..NamespaceSpec::new(region, Mode::Fsdax, NAMESPACE_BYTES)
    })?;
    // nd_pfn_init (drivers/nvdimm/pfn_devs.c) writes no info block there: the seed stays as it is for the next bind.
    sysfs::write(region, "read_only", "1")?;
    Ok(creation)
}

fn refused(bind: std::io::Result<()>, device: &str) -> Result<()> {
    match bind {
        Ok(()) => bail!("{device} was bound, and should have been refused"),
        Err(_) => Ok(()),
    }
}
