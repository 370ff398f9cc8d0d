//! The kernel that is asked whether it would take a block.

use std::path::PathBuf;

use anyhow::bail;
use pfnwatch_common::InfoBlock;
use serde::Serialize;

use super::FoundBlock;
use crate::analysis::validation::{NamespacePlace, refusals};
use crate::code::max_struct_page::CodeError;
use crate::image::max_struct_page::RunningKernel;
use crate::image::module_file::ModuleError;
use crate::image::{KernelImage, KernelImages};
use crate::kernel::{allows_empty, x86_64_aligns};
use crate::model::exit::ExitContext;
use crate::model::facts::KernelParameters;
use crate::model::inventory::Inventory;
use crate::model::kernel::KernelFacts;
use crate::os::paths::Paths;
use crate::sysfs::inventory::SysfsRoots;

pub(super) struct Taker {
    release: String,
    parameters: KernelParameters,
}

/// Whether a kernel would accept the block.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BlockAnswer"))]
pub(in crate::cli::command) struct BlockAnswer {
    /// The kernel's release.
    pub(super) release: String,
    /// Whether it would, as far as is known.
    pub(super) takes: bool,
    /// Why it would not, in the order of the kernel's tests: it logs the first.
    pub(super) refusals: Vec<String>,
    /// Unknown facts that could change the answer.
    pub(super) unknown: Vec<&'static str>,
}

impl Taker {
    /// The kernel that runs.
    pub(super) fn running(paths: &Paths, block: &InfoBlock) -> anyhow::Result<Self> {
        let facts = KernelFacts::gather(paths, None)?;
        let shown = Inventory::read(&SysfsRoots::from(paths)).ok().and_then(|inventory| inventory.aligns());
        let parameters = KernelParameters { aligns: shown.or(facts.aligns), ..KernelParameters::from(&facts) };
        let by_code = || RunningKernel::gather(paths, &facts.release, Vec::new()).allows_empty;
        // The code takes long to read.
        let empty = parameters.allows_empty.or_else(|| if block.npfns == 0 { by_code() } else { None });
        Ok(Self { parameters: KernelParameters { allows_empty: empty, ..parameters }, release: facts.release })
    }

    /// The one kernel that these packages or files contain.
    pub(super) fn of_files(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut images = KernelImages::read(files.iter().map(PathBuf::as_path));
        if let Some((path, error)) = images.failures.first() {
            bail!("{path}: {error}");
        }
        let releases: Vec<_> = images.kernels.keys().cloned().collect();
        match (images.kernels.pop_first(), images.kernels.is_empty()) {
            (Some((release, kernel)), true) => Self::of_image(release, &kernel),
            _ => bail!(ExitContext::usage(format!("--kernel names one kernel, and these are {}", releases.join(", ")))),
        }
    }

    pub(super) fn of_image(release: String, kernel: &KernelImage) -> anyhow::Result<Self> {
        let code = || kernel.modules.iter().map(|(_, module)| &module.code);
        let other =
            |code: &Result<_, ModuleError>| matches!(code, Err(ModuleError::Decode(CodeError::NotSupported(_))));
        if code().any(other) {
            bail!("{release} is not a kernel for x86_64: which blocks it accepts is not known");
        }
        let shown = code().find_map(|code| code.as_ref().ok()?.1.allows_empty);
        let parameters = KernelParameters {
            struct_page: kernel.struct_page_bytes,
            allows_empty: shown.or_else(|| allows_empty(&release)),
            aligns: Some(x86_64_aligns(&release)),
            ..KernelParameters::of_page_size(4096)
        };
        Ok(Self { release, parameters })
    }

    pub(super) fn answer(&self, found: &FoundBlock) -> BlockAnswer {
        let host = &self.parameters;
        let place = NamespacePlace { start: None, size: found.namespace_bytes };
        let refusals: Vec<_> = refusals(&found.block, place, host).iter().map(ToString::to_string).collect();
        let is_dev = found.block.map() == Some(pfnwatch_common::Map::Dev);
        let is_devdax = found.block.kind == pfnwatch_common::superblock::SuperblockKind::Dax;
        let unknown = [
            (true, "the namespace's start"),
            (place.size.is_none(), "the namespace's size"),
            (is_dev && host.struct_page.is_none(), "sizeof(struct page)"),
            (is_devdax && host.aligns.is_none(), "the aligns that it offers"),
            (host.allows_empty.is_none() && found.block.npfns == 0, "whether it refuses a block with nothing usable"),
        ];
        BlockAnswer {
            release: self.release.clone(),
            takes: refusals.is_empty(),
            refusals,
            unknown: unknown.into_iter().filter_map(|(is_unknown, what)| is_unknown.then_some(what)).collect(),
        }
    }
}

impl BlockAnswer {
    pub(super) fn text(&self) -> String {
        let Self { release, refusals, unknown, .. } = self;
        if refusals.is_empty() {
            return format!("{release} accepts it (not known: {})", unknown.join(", "));
        }
        format!("{release} refuses it: {}", refusals.join("; also "))
    }
}
