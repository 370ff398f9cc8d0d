//! BTF for a module that was built without its kernel's vmlinux: pahole makes it of the debug information, over the BTF
//! that lies in the kernel's bootable image.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Task;

/// Where a bzImage says how many sectors come before its protected-mode part, and where in that the compressed vmlinux
/// lies (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// How a payload begins, the ending of its file's name, and what unpacks it. LZ4 is the legacy frame.
const FORMATS: [(&[u8], &str, &[&str]); 4] = [
    (&[0x02, 0x21, 0x4c, 0x18], "lz4", &["lz4", "-dqf"]),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", &["xz", "-dkf"]),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zst", &["zstd", "-dqkf"]),
    (&[0x1f, 0x8b], "gz", &["gzip", "-dkf"]),
];

/// Writes the raw BTF of a bootable image to `to`.
pub(super) fn of_image(image: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let payload = payload(&bytes).with_context(|| format!("{} is no bzImage", image.display()))?;
    let format = FORMATS.iter().find(|(magic, ..)| payload.starts_with(magic));
    let Some((_, ending, [program, options])) = format else {
        bail!("{}: vmlinux is packed in a way that is not known here: {:x?}", image.display(), payload.get(..6));
    };
    let vmlinux = to.with_extension("vmlinux");
    let packed = to.with_extension(format!("vmlinux.{ending}"));
    fs::write(&packed, payload).with_context(|| format!("cannot write {}", packed.display()))?;
    let words = [options.as_ref(), packed.as_os_str()];
    // lz4 alone has to be told the name, where its output is no terminal.
    let named = (*program == "lz4").then_some(vmlinux.as_os_str());
    Task::new(program, words.into_iter().chain(named)).read()?;
    let dump = format!("--dump-section=.BTF={}", to.display());
    let words = [dump.as_ref(), vmlinux.as_os_str(), "/dev/null".as_ref()];
    Task::new("objcopy", words).read().context("no BTF in vmlinux")?;
    for file in [vmlinux, packed] {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// The compressed vmlinux, without the four bytes behind it that tell its size.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = image.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let start = (sectors + 1).checked_mul(SECTOR)?.checked_add(number(PAYLOAD_OFFSET)?)?;
    let end = start.checked_add(number(PAYLOAD_LENGTH)?)?;
    image.get(start..end.checked_sub(4)?)
}

/// Gives a module BTF over that of its kernel, and takes its debug information away.
pub(super) fn add(module: &Path, vmlinux_btf: &Path) -> Result<()> {
    let words = ["-J".as_ref(), "-j".as_ref(), "--btf_base".as_ref(), vmlinux_btf.as_os_str(), module.as_os_str()];
    Task::new("pahole", words).env("LLVM_OBJCOPY", "objcopy").read()?;
    Task::new("strip", ["--strip-debug".as_ref(), module.as_os_str()]).read()?;
    let sections = Task::new("objdump", ["-h".as_ref(), module.as_os_str()]).env("LC_ALL", "C").read()?;
    let has_btf = sections.lines().any(|line| line.split_whitespace().nth(1) == Some(".BTF"));
    ensure!(has_btf, "pahole left no .BTF in {}", module.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_lies_where_the_header_says() {
        let mut image = vec![0; 0x400 + 32];
        image[SETUP_SECTORS] = 1;
        image[PAYLOAD_OFFSET] = 16;
        image[PAYLOAD_LENGTH] = 12;
        image[0x410..0x418].copy_from_slice(b"packed!!");
        assert_eq!(payload(&image), Some(&b"packed!!"[..]));
        image[PAYLOAD_LENGTH] = 200;
        assert_eq!(payload(&image), None, "beyond the end");
        image[PAYLOAD_LENGTH] = 3;
        assert_eq!(payload(&image), None, "shorter than its own size");
        assert_eq!(payload(b"MZ"), None);
    }
}
