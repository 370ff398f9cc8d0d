//! Where kernels differ in the formula: what only a version tells.

use pfnwatch_common::KernelQuirks;

/// The last kernel that was checked to have the old rule, and the first with the new one. For those in between the new
/// rule is assumed, under which a prediction promises less.
const LAST_WITH_EMPTY_BLOCKS: (u32, u32) = (6, 1);

/// The rule of a kernel release such as `6.1.0-50-amd64`. The old one (6.1.192, 5.10.262: drivers/nvdimm/pfn_devs.c
/// tests `offset >= size`) still writes a block with nothing usable; the new one (6.12.107 on) refuses that.
/// Distributions keep upstream's first two numbers, and only these are used.
pub fn of_release(release: &str) -> KernelQuirks {
    KernelQuirks { allows_empty: first_two(release).is_some_and(|version| version <= LAST_WITH_EMPTY_BLOCKS) }
}

fn first_two(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_6_1_an_empty_block_is_written() {
        for (release, allows_empty) in [
            ("5.10.0-34-cloud-amd64", true),
            ("6.1.0-50-amd64", true),
            ("6.12.107+deb13-cloud-amd64", false),
            ("7.3.4-cloud-amd64", false),
            ("", false),
            ("next", false),
        ] {
            assert_eq!(of_release(release), KernelQuirks { allows_empty }, "{release}");
        }
    }
}
