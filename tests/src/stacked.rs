//! What may lie on a disk besides a file system: swap, a loop device, a device of the device mapper, an md array. No tools are needed
//! for them.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::{array, fs, io};

use anyhow::{Context, Result, ensure};
use nix::libc;

use crate::{MIB, modules};

/// The page size of the tests' kernels.
const PAGE: usize = 4096;

fn open(device: &str) -> Result<File> {
    File::options().read(true).write(true).open(device).with_context(|| format!("cannot open {device}"))
}

fn done(what: &str, result: i64) -> Result<i64> {
    ensure!(result >= 0, "{what}: {}", io::Error::last_os_error());
    Ok(result)
}

/// The first MiB of a disk as swap, for as long as this lives.
pub struct Swap(CString);

impl Swap {
    /// Overwrites the disk's start with an empty swap area.
    pub fn on(device: &str) -> Result<Self> {
        let mut header = vec![0; PAGE];
        // `union swap_header` (include/linux/swap.h): version 1, and the number of the last page.
        let fields = [(1024, 1_u32.to_le_bytes()), (1028, 255_u32.to_le_bytes())];
        for (at, field) in
            fields.iter().map(|(at, field)| (*at, field.as_slice())).chain([(PAGE - 10, &b"SWAPSPACE2"[..])])
        {
            header.iter_mut().skip(at).zip(field).for_each(|(byte, value)| *byte = *value);
        }
        let disk = open(device)?;
        disk.write_all_at(&header, 0).and_then(|()| disk.sync_all()).context("cannot write the swap header")?;
        drop(disk);
        let swap = Self(CString::new(device)?);
        // SAFETY: a string that ends with a null byte, and lives through the call.
        done("swapon", unsafe { libc::swapon(swap.0.as_ptr(), 0) }.into())?;
        Ok(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // SAFETY: as above. If it stays, the test fails, since its disk is not free.
        let _ = unsafe { libc::swapoff(self.0.as_ptr()) };
    }
}

/// A loop device over a disk, for as long as this lives.
pub struct Loop {
    device: File,
    /// Such as `loop0`.
    pub name: String,
}

impl Loop {
    pub fn over(disk: &str) -> Result<Self> {
        /// include/uapi/linux/loop.h.
        const GET_FREE: libc::Ioctl = 0x4c82;
        const SET_FD: libc::Ioctl = 0x4c00;
        modules::load("loop")?;
        let control = open("/dev/loop-control")?;
        // SAFETY: it takes no argument.
        let number = done("LOOP_CTL_GET_FREE", unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) }.into())?;
        let name = format!("loop{number}");
        let (device, below) = (open(&format!("/dev/{name}"))?, open(disk)?);
        // SAFETY: the argument is a file descriptor, which lives through the call.
        done("LOOP_SET_FD", unsafe { libc::ioctl(device.as_raw_fd(), SET_FD, below.as_raw_fd()) }.into())?;
        Ok(Self { device, name })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        const CLEAR_FD: libc::Ioctl = 0x4c01;
        // SAFETY: it takes no argument. If it stays, the test fails, since its disk is not free.
        let _ = unsafe { libc::ioctl(self.device.as_raw_fd(), CLEAR_FD) };
    }
}

/// `struct dm_ioctl` (include/uapi/linux/dm-ioctl.h), and room for one target.
#[repr(C)]
struct MapperRequest {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    /// `struct dm_target_spec`.
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
    parameters: [u8; 64],
}

/// The bytes of a text, and zeros.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    array::from_fn(|at| text.as_bytes().get(at).copied().unwrap_or(0))
}

#[derive(Clone, Copy, Debug)]
enum MapperCommand {
    Create = 3,
    Remove = 4,
    /// Without its flag: resume.
    Suspend = 6,
    Load = 9,
}

/// A device of the device mapper that is the first MiB of a disk, for as long as this lives.
pub struct Linear {
    control: File,
    name: &'static str,
}

impl Linear {
    pub fn over(disk: &str, name: &'static str) -> Result<Self> {
        modules::load("dm_mod")?;
        let linear = Self { control: open("/dev/mapper/control")?, name };
        linear.ask(MapperCommand::Create, None)?;
        linear.ask(MapperCommand::Load, Some(&format!("{disk} 0")))?;
        linear.ask(MapperCommand::Suspend, None)?;
        Ok(linear)
    }

    fn ask(&self, command: MapperCommand, target: Option<&str>) -> Result<()> {
        /// `_IOWR(0xfd, command, struct dm_ioctl)`, whose size is 312.
        const REQUEST: libc::Ioctl = 3 << 30 | 312 << 16 | 0xfd << 8;
        let mut request = MapperRequest {
            version: [4, 0, 0],
            data_size: u32::try_from(size_of::<MapperRequest>())?,
            data_start: 312,
            target_count: u32::from(target.is_some()),
            open_count: 0,
            flags: 0,
            event: 0,
            padding: 0,
            device: 0,
            name: padded(self.name),
            uuid: [0; 129],
            data: [0; 7],
            sector_start: 0,
            length: MIB / 512,
            status: 0,
            next: 0,
            target_type: padded("linear"),
            parameters: padded(target.unwrap_or_default()),
        };
        // SAFETY: the kernel reads and writes the structure, which lives through the call, and no more than `data_size`.
        let result =
            unsafe { libc::ioctl(self.control.as_raw_fd(), REQUEST | command as libc::Ioctl, &raw mut request) };
        done(&format!("device mapper, {command:?}"), result.into()).map(drop)
    }
}

impl Drop for Linear {
    fn drop(&mut self) {
        // If it stays, the test fails, since its disk is not free.
        let _ = self.ask(MapperCommand::Remove, None);
    }
}

/// An md array without metadata that has taken a disk and does not run, for as long as this lives.
pub struct Array(String);

impl Array {
    /// `name` begins with `md_` (`add_named_array`, drivers/md/md.c).
    pub fn over(disk: &str, name: &str) -> Result<Self> {
        modules::load("md_mod")?;
        let array = Self(format!("/sys/block/{name}/md"));
        fs::write("/sys/module/md_mod/parameters/new_array", name).context("no array can be made")?;
        let number = fs::read_to_string(format!("/sys/block/{disk}/dev")).with_context(|| format!("no {disk}"))?;
        fs::write(format!("{}/new_dev", array.0), number.trim()).with_context(|| format!("md does not take {disk}"))?;
        Ok(array)
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // If it stays, the test fails, since its disk is not free.
        let _ = fs::write(format!("{}/array_state", self.0), "clear");
    }
}
