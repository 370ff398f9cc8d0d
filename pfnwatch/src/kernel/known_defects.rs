//! Defects of kernels that only the release shows so far.

/// Whether kernels of this release are known, or suspected, to lose a memmap in DRAM: they free a piece of 2 MiB as if it
/// were one page (bf9e4e30f353, x86_64 only), so that each disable loses it until the next boot.
///
/// Stable 6.18.7 to 6.18.38 and 7.1 to 7.1.3 by the stable lists, 6.19 and 7.0 by inference. Any distribution can have
/// changed it in either direction: it is a suspicion.
#[must_use]
pub fn may_lose_memmap(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    let version = [numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()];
    let affected = match version {
        [Some(6), Some(18), Some(patch)] => (7..=38).contains(&patch),
        [Some(6), Some(19), _] | [Some(7), Some(0), _] => true,
        [Some(7), Some(1), patch] => patch.unwrap_or(0) <= 3,
        _ => false,
    };
    affected && cfg!(target_arch = "x86_64")
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_releases_of_the_list() {
        for release in
            ["6.18.7", "6.18.15+deb13-cloud-amd64", "6.18.38", "6.19.0", "6.19-rc3", "7.0.12", "7.1.0", "7.1.3"]
        {
            assert!(may_lose_memmap(release), "{release}");
        }
        for release in ["6.1.176", "6.12.117", "6.17.13", "6.18.6", "6.18.39", "7.1.4", "7.2.12", "7.3.4", "", "next"] {
            assert!(!may_lose_memmap(release), "{release}");
        }
    }
}
