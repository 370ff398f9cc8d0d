//! The work.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail, ensure};
use nix::libc;

use super::Work;
use crate::creation::{self, Map, Mode, Prepared, Wanted};
use crate::{command, sysfs};

const CGROUPS: &str = "/sys/fs/cgroup";
const LOOP_CONTROL: &str = "/dev/loop-control";
/// `LOOP_CTL_ADD` and `LOOP_CTL_REMOVE` (include/uapi/linux/loop.h).
const LOOP_CTL: [libc::c_ulong; 2] = [0x4c80, 0x4c81];
/// The namespace that is never made: large enough for half a memmap to be more than an align.
const NAMESPACE_BYTES: u64 = 1 << 30;
const ALIGN_BYTES: u64 = 2 << 20;

/// All that the work needs.
pub struct Ground {
    loop_control: File,
    /// A btt device without a namespace: nd_pmem refuses it.
    other: String,
    creation: Prepared,
}

impl Ground {
    /// Makes it ready, on a region without namespaces.
    pub fn prepare(region: &str) -> Result<Self> {
        command::run("/sbin/modprobe", &["loop", "max_loop=0"])?;
        let loop_control = File::open(LOOP_CONTROL).with_context(|| format!("cannot open {LOOP_CONTROL}"))?;
        let creation = creation::prepare(&Wanted {
            region: region.to_owned(),
            size_bytes: NAMESPACE_BYTES,
            mode: Mode::Fsdax,
            map: Map::Dev,
            align_bytes: ALIGN_BYTES,
        })?;
        // nd_pfn_init (drivers/nvdimm/pfn_devs.c) writes no info block there: the seed stays as it is for the next bind.
        sysfs::write(region, "read_only", "1")?;
        Ok(Self { loop_control, other: sysfs::seed(region, "btt_seed")?, creation })
    }

    /// Does the work so often.
    pub fn work(&self, work: Work, times: u64) -> Result<()> {
        match work {
            Work::Cgroups => cgroups(times),
            Work::Devices => self.devices(times),
            Work::OtherBind => (0..times).try_for_each(|_| refused(sysfs::bind(&self.other, "nd_pmem"), &self.other)),
            Work::Creation => (0..times).try_for_each(|_| refused(self.creation.bind(), &self.creation.claimer)),
        }
    }

    fn devices(&self, times: u64) -> Result<()> {
        for request in LOOP_CTL {
            for number in 0..times {
                // SAFETY: the request takes a number, and no memory.
                let result = unsafe { libc::ioctl(self.loop_control.as_raw_fd(), request, number) };
                ensure!(result >= 0, "loop{number}: {}", std::io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

fn cgroups(times: u64) -> Result<()> {
    let folder = |number| format!("{CGROUPS}/bench{number}");
    for folder in (0..times).map(folder) {
        fs::create_dir(&folder).with_context(|| format!("cannot make {folder}"))?;
    }
    for folder in (0..times).map(folder) {
        fs::remove_dir(&folder).with_context(|| format!("cannot remove {folder}"))?;
    }
    Ok(())
}

fn refused(bind: std::io::Result<()>, device: &str) -> Result<()> {
    match bind {
        Ok(()) => bail!("{device} was bound, and should have been refused"),
        Err(_) => Ok(()),
    }
}
