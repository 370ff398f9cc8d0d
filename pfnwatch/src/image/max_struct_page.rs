//! This host's evidence for its own kernel's MAX_STRUCT_PAGE_SIZE.

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::image::module_file::{self, Module};
use crate::image::{kernel_paths, running_code as running};
use crate::kernel::boot::{loaded_build_id, loaded_srcversion};
use crate::kernel::changed_text;
use crate::kernel::libnvdimm::Libnvdimm;
use crate::kernel::max_struct_page::{Addresses, Evidence, FUNCTIONS, Resolved, Source, of_release, resolve};
use crate::os::paths::Paths;

const INSTALLED: &str = "/lib/modules";

#[derive(Debug)]
pub struct RunningKernel {
    pub resolved: Resolved,
    /// Whether the parameter `page_struct_override` is set; `None` if the kernel has none.
    pub override_set: Option<bool>,
    /// Whether it writes an info block that leaves nothing usable; `None` if its code does not show it.
    pub allows_empty: Option<bool>,
    pub problems: Vec<String>,
}

impl RunningKernel {
    /// Reads the running code, the installed module file if it is the loaded one, and the release's name; `observed` is
    /// evidence from blocks that this kernel wrote.
    #[must_use]
    pub fn gather(paths: &Paths, release: &str, observed: Vec<Evidence>) -> Self {
        let mut problems = Vec::new();
        let mut evidence = observed;
        let allows_empty = if let Some(patch) = changed_text::live_patch(&paths.sysfs, &FUNCTIONS) {
            problems.push(format!(
                "{} is replaced by the live patch {patch}: its code, the module file and the release no longer show what \
                 the kernel reserves, only a block that it writes does",
                FUNCTIONS[0]
            ));
            None
        } else {
            evidence.extend(of_release(release));
            of_code(paths, release, &mut evidence, &mut problems)
        };
        let override_set = running::page_struct_override(&paths.sysfs).unwrap_or_else(|error| {
            problems.push(error.to_string());
            None
        });
        Self { resolved: resolve(evidence), override_set, allows_empty, problems }
    }
}

/// Adds the evidence of the running code and of its module file. Returns whether the code writes a block that leaves nothing usable.
fn of_code(paths: &Paths, release: &str, evidence: &mut Vec<Evidence>, problems: &mut Vec<String>) -> Option<bool> {
    let installed = Installed::read(&Path::new(INSTALLED).join(release));
    let running = running_code(paths, installed.as_ref().ok().map(|installed| &installed.module));
    let file = installed.and_then(|installed| installed.evidence(paths));
    let mut allows_empty = None;
    for (kind, found) in [("running code", running.map_err(|error| error.to_string())), ("module file", file)] {
        match found {
            Ok((found, empty)) => {
                evidence.push(found);
                allows_empty = allows_empty.or(empty);
            }
            Err(problem) => problems.push(format!("{kind}: {problem}")),
        }
    }
    allows_empty
}

fn running_code(paths: &Paths, installed: Option<&Module>) -> Result<(Evidence, Option<bool>), running::RunningError> {
    let (function, decoded) = running::decode_running(paths, installed)?;
    let max = decoded.max_struct_page()?;
    let source = Source::RunningCode { function, at: Addresses::from(&decoded) };
    Ok((Evidence { max, source }, decoded.allows_empty))
}

struct Installed {
    path: PathBuf,
    module: Module,
}

impl Installed {
    fn read(folder: &Path) -> Result<Self, String> {
        let path = kernel_paths::module(folder).ok_or_else(|| format!("{} contains no libnvdimm", folder.display()))?;
        let file = File::open(&path).map_err(|error| named(&path, &error))?;
        let module = module_file::read(file).map_err(|error| named(&path, &error))?;
        Ok(Self { path, module })
    }

    /// The evidence of its code, if it is what is loaded, or what would be.
    fn evidence(&self, paths: &Paths) -> Result<(Evidence, Option<bool>), String> {
        let (_, decoded) = self.module.code.as_ref().map_err(|error| named(&self.path, error))?;
        self.check_loaded(paths).map_err(|problem| named(&self.path, &problem))?;
        let evidence = self.module.evidence(&self.path.display().to_string());
        Ok((evidence.ok_or_else(|| named(&self.path, &"its code shows nothing"))?, decoded.allows_empty))
    }

    /// The build-id decides; without two of them, the srcversion.
    fn check_loaded(&self, paths: &Paths) -> Result<(), String> {
        if Libnvdimm::detect(paths) == Libnvdimm::NotLoaded {
            return Ok(());
        }
        let Module { build_id, srcversion, .. } = &self.module;
        let of = |name, file: &Option<String>, loaded: Option<String>| Some((name, file.clone()?, loaded?));
        match of("build-id", build_id, loaded_build_id(&paths.sysfs))
            .or_else(|| of("srcversion", srcversion, loaded_srcversion(&paths.sysfs)))
        {
            Some((_, file, loaded)) if file == loaded => Ok(()),
            Some((name, _, loaded)) => Err(format!("this is not what is loaded, whose {name} is {loaded}")),
            None => {
                Err("nothing shows that this is what is loaded: no build-id and no srcversion to compare".to_owned())
            }
        }
    }
}

fn named(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SRCVERSION: &str = "533BB7E5866E52F63B9ACCB";

    fn installed(file: &[u8]) -> Installed {
        let modules = tempfile::tempdir().unwrap();
        assert!(Installed::read(modules.path()).err().unwrap().ends_with("contains no libnvdimm"));
        let folder = modules.path().join("kernel/drivers/nvdimm");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libnvdimm.ko"), file).unwrap();
        Installed::read(modules.path()).unwrap()
    }

    /// A host whose sysfs has these files of libnvdimm.
    fn host(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Paths) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned() };
        for (name, bytes) in files {
            let file = paths.sysfs.join("module/libnvdimm").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        (folder, paths)
    }

    fn note(build_id: [u8; 4]) -> Vec<u8> {
        [&4_u32.to_ne_bytes()[..], &4_u32.to_ne_bytes(), &3_u32.to_ne_bytes(), b"GNU\0", &build_id].concat()
    }

    /// What counts of a file on a host: the bytes that it shows, or the problem.
    fn counted(installed: &Installed, files: &[(&str, &[u8])]) -> Result<u64, String> {
        let (_folder, paths) = host(files);
        installed.evidence(&paths).map(|(evidence, _)| evidence.max.bytes)
    }

    const LIVE: (&str, &[u8]) = ("initstate", b"live\n");
    const BUILD_ID: &str = "notes/.note.gnu.build-id";

    #[test]
    fn a_file_counts_only_if_it_is_what_is_loaded() {
        let installed = installed(&module_file::tests::libnvdimm(128, 7));
        let (same, other) = (note([0xde, 0xad, 0xbe, 0xef]), note([0xab, 1, 2, 0]));
        assert_eq!(counted(&installed, &[]), Ok(128), "nothing is loaded: this would be");
        assert_eq!(counted(&installed, &[LIVE, (BUILD_ID, &same)]), Ok(128));
        let error = counted(&installed, &[LIVE, (BUILD_ID, &other)]).unwrap_err();
        assert!(error.ends_with("not what is loaded, whose build-id is ab010200"), "{error}");
        let error = counted(&installed, &[LIVE]).unwrap_err();
        assert!(error.ends_with("no build-id and no srcversion to compare"), "{error}");
        let (folder, built_in) = host(&[]);
        fs::create_dir_all(folder.path().join("bus/nd")).unwrap();
        assert!(installed.evidence(&built_in).is_err(), "libnvdimm is built in: this file is another's");
    }

    #[test]
    fn after_a_live_patch_only_observed_blocks_count() {
        let (folder, paths) = host(&[]);
        let gather = |observed| RunningKernel::gather(&paths, "6.1.12", observed);
        assert_eq!(gather(Vec::new()).resolved.agreed().map(|max| max.bytes), Some(64), "by the release");
        let replaced = folder.path().join("kernel/livepatch/fix_pfn/libnvdimm/nvdimm_setup_pfn,1");
        fs::create_dir_all(replaced).unwrap();
        let patched = gather(Vec::new());
        assert_eq!(patched.resolved.agreed(), None);
        let [problem] = patched.problems.as_slice() else { panic!("{:?}", patched.problems) };
        assert!(problem.starts_with("nvdimm_setup_pfn is replaced by the live patch fix_pfn"), "{problem}");
        let max = crate::code::max_struct_page::MaxStructPage { bytes: 128, overridden_bytes: None };
        let block = Evidence { max, source: Source::ObservedBlock { namespace: "namespace0.0".into() } };
        assert_eq!(gather(vec![block]).resolved.proven(), Some(max));
    }

    #[test]
    fn without_build_ids_the_srcversion_decides() {
        let mut installed = installed(&module_file::tests::libnvdimm(128, 7));
        installed.module.srcversion = Some(SRCVERSION.to_owned());
        let (same, other) = (format!("{SRCVERSION}\n"), note([0xab, 1, 2, 0]));
        let loaded = ("srcversion", same.as_bytes());
        assert_eq!(counted(&installed, &[LIVE, loaded]), Ok(128));
        assert!(counted(&installed, &[LIVE, loaded, (BUILD_ID, &other)]).is_err(), "the same sources, another build");
        installed.module.build_id = None;
        assert_eq!(counted(&installed, &[LIVE, loaded, (BUILD_ID, &other)]), Ok(128));
        let error = counted(&installed, &[LIVE, ("srcversion", b"0123\n")]).unwrap_err();
        assert!(error.ends_with("not what is loaded, whose srcversion is 0123"), "{error}");
    }
}
