//! `cargo xtask demo`: the same three namespaces under a kernel as Debian builds it, and under one with the regression; then a
//! kernel that does not return the DRAM of a memmap, while Debian has one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::boot_config::Purpose;
use guest::kernel_lines::loses_memmap;
use guest::report::Report;

use super::initramfs::Base;
use super::kernel::{self, Kernel};
use super::programs;
use super::qemu::Qemu;
use super::scenario::{self, DEMO, MIB};
use super::variant::{self, Variant, Variants};
use super::{Guest, lock};
use crate::debian::NotAvailable;
use crate::process::both;
use crate::{object, setup};

/// How long one guest may take: a minute is usual under emulation.
const LIMIT: Duration = Duration::from_secs(300);

/// The line whose earlier releases do not return a memmap in DRAM.
const NOT_RETURNING: &str = "6.18";

/// A scan's totals over all namespaces, in bytes.
#[derive(Clone, Copy)]
struct Totals {
    size: u64,
    usable: u64,
    excess: u64,
}

pub(crate) fn run() -> Result<()> {
    let _lock = lock()?;
    // Compilers keep the processors busy while packages come over the network.
    let compile = || {
        object()?;
        programs::build_to_show()
    };
    let fetch = || {
        setup::for_guests()?;
        let variants = variant::provide(scenario::REBUILT, &[Variant::Max128]).context("nothing to show")?;
        Ok((variants, not_returning()?))
    };
    let (built, (variants, not_returning)) = both(compile, fetch)?;
    let qemu = Qemu::find(&variants.kernel)?;
    let base = Base::new(&built)?;
    let release = &variants.kernel.release;
    let title = format!("1. Linux {release} as Debian builds it: 64 bytes reserved for each page");
    let sound = boot(&title, &variants, None, &base, &qemu)?;
    let title = format!("2. Linux {release} with MAX_STRUCT_PAGE_SIZE = 128, as Linux 6.1 to 6.1.11 were released");
    let regressed = boot(&title, &variants, Some(variants.module(Variant::Max128)), &base, &qemu)?;
    println!("\n{}", sentence(sound, regressed)?);
    if let Some(kernel) = not_returning {
        let title =
            format!("3. Linux {} does not return the DRAM of a memmap when its device is disabled", kernel.release);
        show(&title, &kernel, None, Purpose::DemoMemmapReturn, (&base, &qemu))?;
    } else {
        println!("\nDebian's Linux {NOT_RETURNING} returns the DRAM of memmaps by now: there is no third step.");
    }
    Ok(())
}

/// `None` if Debian holds no kernel of that line any more, or its kernel is repaired.
fn not_returning() -> Result<Option<Kernel>> {
    match kernel::provide(NOT_RETURNING, kernel::CLOUD) {
        Ok(kernel) => Ok(Some(kernel).filter(|kernel| loses_memmap(&kernel.release))),
        Err(error) if error.is::<NotAvailable>() => Ok(None),
        Err(error) => Err(error),
    }
}

fn boot(title: &str, variants: &Variants, libnvdimm: Option<PathBuf>, base: &Base, qemu: &Qemu) -> Result<Totals> {
    let totals = show(title, &variants.kernel, libnvdimm, Purpose::Demo, (base, qemu))?;
    totals.context("the guest gave no totals")
}

fn show(
    title: &str,
    kernel: &Kernel,
    libnvdimm: Option<PathBuf>,
    purpose: Purpose,
    with: (&Base, &Qemu),
) -> Result<Option<Totals>> {
    println!("\n{title}\n{}", "=".repeat(title.chars().count()));
    eprintln!("boot a virtual machine with an emulated NVDIMM …");
    let mut totals = None;
    let guest = Guest { kernel, libnvdimm, debian: None, machine: &DEMO };
    guest.boot_alone(purpose, LIMIT, with, |report| match report {
        Report::Output { line } => println!("{line}"),
        Report::Totals { size_bytes, usable_bytes, excess_bytes } => {
            totals = Some(Totals { size: *size_bytes, usable: *usable_bytes, excess: *excess_bytes });
        }
        _ => (),
    })?;
    Ok(totals)
}

/// What was lost. Both kernels had the same namespaces, or there is nothing to compare.
fn sentence(sound: Totals, regressed: Totals) -> Result<String> {
    ensure!(sound.size == regressed.size, "the two kernels made namespaces of different sizes");
    let lost = sound.usable.saturating_sub(regressed.usable);
    ensure!(lost == regressed.excess && sound.excess == 0, "pfnwatch's excess is not what the kernels differ by");
    let hundredths = u128::from(lost) * 10_000 / u128::from(regressed.size.max(1));
    Ok(format!(
        "Lost: {} MiB of {} MiB ({}.{:02} %) to the second kernel's larger reservation, and it stays lost under every \
         later kernel until the namespaces are made again (`pfnwatch plan` prints the commands).",
        lost / MIB,
        regressed.size / MIB,
        hundredths / 100,
        hundredths % 100
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_tells_what_the_two_differ_by() {
        let sound = Totals { size: 9216 * MIB, usable: 9080 * MIB, excess: 0 };
        let regressed = Totals { usable: 8952 * MIB, excess: 128 * MIB, ..sound };
        assert!(sentence(sound, regressed).unwrap().starts_with("Lost: 128 MiB of 9216 MiB (1.38 %) "));
        assert!(sentence(sound, Totals { excess: 64 * MIB, ..regressed }).is_err());
        assert!(sentence(sound, Totals { size: 1, ..regressed }).is_err());
    }
}
