//! `cargo xtask demo`: the same three namespaces under a kernel as Debian builds it, and under one with the regression.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::boot_config::Purpose;
use guest::report::Report;

use super::initramfs::Base;
use super::programs;
use super::qemu::Qemu;
use super::scenario::{self, DEMO, MIB};
use super::variant::{self, Variant, Variants};
use super::{Guest, lock};
use crate::process::both;
use crate::{object, setup};

/// How long one guest may take: a minute is usual under emulation.
const LIMIT: Duration = Duration::from_secs(300);

/// What a scan says of all namespaces together, in bytes.
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
        variant::provide(scenario::REBUILT, &[Variant::Max128]).context("nothing to show")
    };
    let (built, variants) = both(compile, fetch)?;
    let qemu = Qemu::find(&variants.kernel.image)?;
    let base = Base::new(&built)?;
    let release = &variants.kernel.release;
    let title = format!("1. Linux {release} as Debian builds it: 64 bytes reserved for each page");
    let sound = boot(&title, &variants, None, &base, &qemu)?;
    let title = format!("2. Linux {release} with MAX_STRUCT_PAGE_SIZE = 128, as Linux 6.1 to 6.1.11 were released");
    let regressed = boot(&title, &variants, Some(variants.module(Variant::Max128)), &base, &qemu)?;
    println!("\n{}", sentence(sound, regressed)?);
    Ok(())
}

fn boot(title: &str, variants: &Variants, libnvdimm: Option<PathBuf>, base: &Base, qemu: &Qemu) -> Result<Totals> {
    let kernel = &variants.kernel;
    println!("\n{title}\n{}", "=".repeat(title.chars().count()));
    eprintln!("boot a virtual machine with an emulated NVDIMM …");
    let mut totals = None;
    let guest = Guest { kernel, libnvdimm, debian: None, machine: &DEMO };
    guest.boot_alone(Purpose::Demo, LIMIT, (base, qemu), |report| match report {
        Report::Output { line } => println!("{line}"),
        Report::Totals { size_bytes, usable_bytes, excess_bytes } => {
            totals = Some(Totals { size: *size_bytes, usable: *usable_bytes, excess: *excess_bytes });
        }
        _ => (),
    })?;
    totals.context("the guest gave no totals")
}

/// What was lost. Both kernels had the same namespaces, or there is nothing to compare.
fn sentence(sound: Totals, regressed: Totals) -> Result<String> {
    ensure!(sound.size == regressed.size, "the two kernels made namespaces of different sizes");
    let lost = sound.usable.saturating_sub(regressed.usable);
    ensure!(lost == regressed.excess && sound.excess == 0, "pfnwatch's excess is not what the kernels differ by");
    let hundredths = u128::from(lost) * 10_000 / u128::from(regressed.size.max(1));
    Ok(format!(
        "Lost: {} MiB of {} MiB ({}.{:02} %) to the second kernel's larger reservation, and it stays lost under every \
         later kernel until the namespaces are made again (`pfnwatch plan` says how).",
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
