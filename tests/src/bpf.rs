//! What of eBPF is in the kernel, by the kernel's own list, without any tool.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Lsm, ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, Ebpf, EbpfLoader};
use nix::libc;

use crate::wait;

/// A kind of object with ids (`enum bpf_cmd`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug)]
pub enum ObjectKind {
    Programs = 11,
    Maps = 12,
    Links = 31,
}

#[repr(C)]
#[derive(Default)]
struct NextId {
    start: u32,
    next: u32,
    open_flags: u32,
}

pub fn ids(kind: ObjectKind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        let mut request = NextId { start: ids.last().copied().unwrap_or(0), ..NextId::default() };
        // SAFETY: the kernel reads and writes the structure, which lives through the call, and no more than its size.
        let result = unsafe { libc::syscall(libc::SYS_bpf, kind as i32, &raw mut request, size_of::<NextId>()) };
        if result == 0 {
            ids.push(request.next);
            continue;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT) => return Ok(ids),
            Some(_) => return Err(error).with_context(|| format!("the kernel does not list its eBPF {kind:?}")),
            None => bail!("an error without a number: {error}"),
        }
    }
}

pub const EMPTY_OBJECT: &str = "/lib/pfnwatch/empty";
const EMPTY_NAME: &str = "empty";
pub const EMPTY_PROGRAM: Program = Program::Named(EMPTY_NAME);
const GUARD_HOOK: &str = "kernfs_init_security";

/// The program, attached for as long as this lives.
pub struct Empty(#[expect(dead_code, reason = "its drop detaches")] Ebpf);

impl Empty {
    pub fn attach(object: &Path) -> Result<Self> {
        let object = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let mut ebpf = EbpfLoader::new().btf(None).load(&object).context("the empty program's object")?;
        let program: &mut Lsm = ebpf.program_mut(EMPTY_NAME).context("the object has no empty program")?.try_into()?;
        program.load(GUARD_HOOK, &Btf::from_sys_fs()?).context("the kernel refuses to load the empty program")?;
        program.attach().context("the kernel refuses to attach the empty program")?;
        Ok(Self(ebpf))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldObjects {
    pub programs: Vec<u32>,
    pub maps: Vec<u32>,
    pub links: Vec<u32>,
    pub kprobes: Vec<String>,
    pub trampolines: Vec<String>,
}

impl HeldObjects {
    pub fn look() -> Result<Self> {
        Ok(Self {
            programs: ids(ObjectKind::Programs)?,
            maps: ids(ObjectKind::Maps)?,
            links: ids(ObjectKind::Links)?,
            // `ffffffffc0… k nvdimm_bus_probe+0x0 [libnvdimm] [FTRACE]`
            kprobes: functions("/sys/kernel/debug/kprobes/list", 2)?,
            // `really_probe (3) R D   tramp: …`
            trampolines: functions("/sys/kernel/tracing/enabled_functions", 0)?,
        })
    }

    /// What was not there before. Ids suffice: the kernel reuses none until it has assigned all (`idr_alloc_cyclic`,
    /// kernel/bpf/syscall.c).
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        Self {
            programs: added(&self.programs, &before.programs),
            maps: added(&self.maps, &before.maps),
            links: added(&self.links, &before.links),
            kprobes: added(&self.kprobes, &before.kprobes),
            trampolines: added(&self.trampolines, &before.trampolines),
        }
    }

    /// Waits until nothing is left that was not there before: the kernel frees an unreferenced object once no CPU can
    /// be inside of it. Objects that were on their way out before may have gone.
    pub fn until_nothing_beyond(before: &Self, limit: Duration) -> Result<()> {
        let beyond = || Self::look().map(|now| now.beyond(before));
        wait::until("nothing left in the kernel", limit, || beyond().ok().filter(|left| *left == Self::default()))
            .map(drop)
            .with_context(|| format!("left: {:?}", beyond()))
    }
}

fn functions(file: &str, word: usize) -> Result<Vec<String>> {
    let list = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let function = |line: &str| Some(line.split_whitespace().nth(word)?.split('+').next()?.to_owned());
    let mut functions: Vec<String> = list.lines().filter_map(function).collect();
    functions.sort();
    Ok(functions)
}

fn added<T: Clone + PartialEq>(now: &[T], before: &[T]) -> Vec<T> {
    now.iter().filter(|held| !before.contains(held)).cloned().collect()
}

pub const PINS: &str = "/sys/fs/bpf/pfnwatch/v5";

/// A guard that stays attached as long as this lives, even without its pins.
pub struct PinnedObjects(#[expect(dead_code, reason = "it holds the link")] FdLink);

impl PinnedObjects {
    /// Opens the guard of the only load of the programs that is pinned.
    pub fn guard() -> Result<Self> {
        let pin = only()?.0.join("guard");
        let link = PinnedLink::from_pin(&pin).with_context(|| format!("cannot open {}", pin.display()))?;
        Ok(Self(link.into()))
    }
}

/// The number of the only load of the programs that is pinned.
pub fn pinned_load() -> Result<u64> {
    only().map(|(_, number)| number)
}

fn only() -> Result<(PathBuf, u64)> {
    let entries = fs::read_dir(PINS).with_context(|| format!("cannot read {PINS}"))?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("links-")?.parse().ok();
    let numbered = |path: PathBuf| number(&path).map(|number| (path, number));
    let found: Vec<_> = entries.filter_map(|entry| numbered(entry.path())).collect();
    match <[_; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(found) => bail!("not one load of the programs is pinned: {found:?}"),
    }
}

pub struct OwnerMap(Array<MapData, u64>);

impl OwnerMap {
    pub fn open() -> Result<Self> {
        let map = MapData::from_pin(format!("{PINS}/maps/ACTIVE_OWNER")).context("cannot open the pin of the map")?;
        Ok(Self(Map::Array(map).try_into().context("it is another map")?))
    }

    pub fn set(&mut self, load: u64) -> Result<()> {
        self.0.set(0, load, 0).context("the charge cannot be changed")
    }
}

/// The pinned guard's number of loads and unloads of libnvdimm.
pub struct ModuleEpochMap(Array<MapData, u64>);

impl ModuleEpochMap {
    pub fn open() -> Result<Self> {
        let map = MapData::from_pin(format!("{PINS}/maps/MODULE_EPOCH")).context("cannot open the pin of the map")?;
        Ok(Self(Map::Array(map).try_into().context("it is another map")?))
    }

    /// As if libnvdimm were loaded or unloaded.
    pub fn turn(&mut self) -> Result<()> {
        let epoch = self.0.get(&0, 0).context("the number cannot be read")?;
        self.0.set(0, epoch + 1, 0).context("the number cannot be changed")
    }
}

/// The kernel counts as long as this lives. Counting costs time itself: the clock is read twice a run.
pub struct Counting(#[expect(dead_code, reason = "its drop ends the counting")] OwnedFd);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runs {
    pub count: u64,
    pub time: Duration,
}

impl Counting {
    pub fn start() -> Result<Self> {
        enable_stats(Stats::RunTime).map(Self).context("the kernel does not count the runs of programs")
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Program {
    Named(&'static str),
    WithId(u32),
}

impl Program {
    fn is(self, program: &ProgramInfo) -> bool {
        match self {
            Self::Named(name) => program.name_as_str() == Some(name),
            Self::WithId(id) => program.id() == id,
        }
    }
}

impl Runs {
    /// Of this program, since it was loaded.
    pub fn of(program: Program) -> Result<Self> {
        let programs = loaded_programs().collect::<Result<Vec<ProgramInfo>, _>>()?;
        let meant: Vec<_> = programs.iter().filter(|loaded| program.is(loaded)).collect();
        ensure!(meant.len() <= 1, "{} programs are {program:?}", meant.len());
        let found = meant.first().with_context(|| format!("no program is {program:?}"))?;
        Ok(Self { count: found.run_count(), time: found.run_time() })
    }

    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self { count: self.count.saturating_sub(then.count), time: self.time.saturating_sub(then.time) }
    }
}
