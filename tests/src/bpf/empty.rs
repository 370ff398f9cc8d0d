//! The program that does nothing, on the guard's hook.

use std::fs;

use anyhow::{Context, Result};
use aya::programs::Lsm;
use aya::{Btf, Ebpf, EbpfLoader};

/// Where its object lies in the guest.
pub const OBJECT: &str = "/lib/pfnwatch/empty";
/// Its name in the object, and in the kernel.
pub const NAME: &str = "empty";
const HOOK: &str = "kernfs_init_security";

/// The program, attached for as long as this lives.
pub struct Empty(#[expect(dead_code, reason = "its drop detaches")] Ebpf);

impl Empty {
    /// Loads and attaches it.
    pub fn attach() -> Result<Self> {
        let object = fs::read(OBJECT).with_context(|| format!("cannot read {OBJECT}"))?;
        let mut ebpf = EbpfLoader::new().btf(None).load(&object).context("the empty program's object")?;
        let program: &mut Lsm = ebpf.program_mut(NAME).context("the object has no empty program")?.try_into()?;
        program.load(HOOK, &Btf::from_sys_fs()?).context("the kernel refuses to load the empty program")?;
        program.attach().context("the kernel refuses to attach the empty program")?;
        Ok(Self(ebpf))
    }
}
