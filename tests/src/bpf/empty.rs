//! The program that does nothing, on the guard's hook.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::Lsm;
use aya::{Btf, Ebpf, EbpfLoader};

use super::statistics::Program;

pub const OBJECT: &str = "/lib/pfnwatch/empty";
const NAME: &str = "empty";
pub const PROGRAM: Program = Program::Named(NAME);
const HOOK: &str = "kernfs_init_security";

/// The program, attached for as long as this lives.
pub struct Empty(#[expect(dead_code, reason = "its drop detaches")] Ebpf);

impl Empty {
    pub fn attach(object: &Path) -> Result<Self> {
        let object = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let mut ebpf = EbpfLoader::new().btf(None).load(&object).context("the empty program's object")?;
        let program: &mut Lsm = ebpf.program_mut(NAME).context("the object has no empty program")?.try_into()?;
        program.load(HOOK, &Btf::from_sys_fs()?).context("the kernel refuses to load the empty program")?;
        program.attach().context("the kernel refuses to attach the empty program")?;
        Ok(Self(ebpf))
    }
}
