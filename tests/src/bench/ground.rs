//! The work, and what it needs.

use anyhow::{Result, bail};

use super::Work;
use crate::creation::{self, Map, Mode, Prepared, Wanted};
use crate::{storm, sysfs};

/// The namespace that is never made: large enough for half a memmap to be more than an align.
const NAMESPACE_BYTES: u64 = 1 << 30;
const ALIGN_BYTES: u64 = 2 << 20;

/// Devices whose bind is refused each time, and leaves them as they are.
pub struct Ground {
    /// A btt device without a namespace: nd_pmem refuses it.
    other: String,
    /// A creation that the kernel itself refuses.
    pub creation: Prepared,
}

impl Ground {
    /// Makes it ready, on a region without namespaces.
    pub fn prepare(region: &str) -> Result<Self> {
        let creation = creation::prepare(&Wanted {
            region: region.to_owned(),
            size_bytes: NAMESPACE_BYTES,
            mode: Mode::Fsdax,
            map: Map::Dev,
            align_bytes: ALIGN_BYTES,
        })?;
        // nd_pfn_init (drivers/nvdimm/pfn_devs.c) writes no info block there: the seed stays as it is for the next bind.
        sysfs::write(region, "read_only", "1")?;
        Ok(Self { other: sysfs::seed(region, "btt_seed")?, creation })
    }

    /// Does the work so often.
    pub fn work(&self, work: Work, times: u16) -> Result<()> {
        match work {
            Work::Cgroups => storm::cgroups(times.into()),
            Work::Devices => storm::loop_devices(times.into()),
            Work::OtherBind => (0..times).try_for_each(|_| refused(sysfs::bind(&self.other, "nd_pmem"), &self.other)),
            Work::Creation => (0..times).try_for_each(|_| refused(self.creation.bind(), &self.creation.claimer)),
        }
    }
}

fn refused(bind: std::io::Result<()>, device: &str) -> Result<()> {
    match bind {
        Ok(()) => bail!("{device} was bound, and should have been refused"),
        Err(_) => Ok(()),
    }
}
