use super::*;

const GIB: u64 = 1 << 30;

fn host(number: u64, kernel: &str, max: u64, excess: u64) -> Host {
    Host {
        host: format!("host{number}"),
        kernel: Some(kernel.to_owned()),
        max_struct_page_size_bytes: Some(max),
        page_size_bytes: Some(4096),
        sums: CapacityTotals { namespaces: 2, size_bytes: 1 << 40, excess_bytes: excess, ..CapacityTotals::default() },
        oversize: excess > 0,
        mode: Some("audit".to_owned()),
        ..Host::default()
    }
}

#[test]
fn hosts_are_summed_and_their_kernels_compared() {
    let mut fleet = Fleet::keeping(2);
    fleet.add(host(1, "6.0.12", 64, 0));
    fleet.add(host(2, "6.1.9", 128, 16 * GIB));
    fleet.add(host(3, "6.1.9", 128, 32 * GIB));
    fleet.add(Host { mode: None, ..host(4, "6.0.12", 64, GIB) });
    let totals = fleet.totals();
    assert_eq!((totals.hosts, totals.oversize_hosts, totals.sums.namespaces), (4, 3, 8));
    assert_eq!((totals.sums.size_bytes, totals.sums.excess_bytes), (4 << 40, 49 * GIB));
    let releases = fleet.releases();
    let [dear, cheap] = releases.as_slice() else { panic!("{releases:?}") };
    assert_eq!((dear.kernel.as_str(), dear.extra_bytes_per_tib, dear.hosts), ("6.1.9", Some(16 * GIB), 2));
    assert_eq!((cheap.kernel.as_str(), cheap.extra_bytes_per_tib, cheap.excess_bytes), ("6.0.12", Some(0), GIB));
    let worst: Vec<_> = fleet.worst().iter().map(|it| it.host.as_str()).collect();
    assert_eq!(worst, ["host3", "host2"]);
    assert_eq!(
        fleet.modes().clone().into_iter().collect::<Vec<_>>(),
        [("audit".to_owned(), 3), ("unknown".to_owned(), 1)]
    );
    assert!(fleet.regressed());
}

#[test]
fn one_kernel_alone_is_no_regression_and_neither_is_one_that_is_not_known() {
    let mut fleet = Fleet::keeping(10);
    fleet.add(host(1, "6.1.9", 128, 0));
    fleet.add(Host { max_struct_page_size_bytes: None, ..host(2, "6.2.0", 0, 0) });
    assert!(!fleet.regressed());
    assert_eq!(fleet.releases().iter().map(|it| it.extra_bytes_per_tib).collect::<Vec<_>>(), [Some(0), None]);
    fleet.add(Host { regressed: true, ..host(3, "6.1.9", 128, 0) });
    assert!(fleet.regressed());
}

#[test]
fn a_release_with_larger_struct_pages_or_one_that_keeps_memmaps_is_a_regression() {
    let with = |number, kernel: &str, struct_page, memmap_returned, lost| {
        let mut host = host(number, kernel, 64, 0);
        (host.struct_page_size_bytes, host.memmap_returned) = (Some(struct_page), memmap_returned);
        host.sums.memmap_not_returned_bytes = lost;
        host
    };
    let release = |fleet: &Fleet, kernel: &str| fleet.releases().into_iter().find(|it| it.kernel == kernel).unwrap();
    let mut fleet = Fleet::keeping(0);
    fleet.add(with(1, "6.12.1", 64, Some(true), 0));
    // Nobody has read its code: a suspicion is no regression.
    fleet.add(with(2, "6.18.9", 64, None, 0));
    assert!(!fleet.regressed());
    let suspected = release(&fleet, "6.18.9");
    assert_eq!((suspected.memmap_returned, suspected.memmap_loss_suspected), (None, true));
    assert!(!may_be_x86_64("6.18.9-arm64-16k"));
    // One host of it that knows suffices.
    fleet.add(with(3, "6.18.9", 64, Some(false), GIB));
    fleet.add(with(4, "6.18.9", 64, Some(true), 0));
    assert!(fleet.regressed());
    let lossy = release(&fleet, "6.18.9");
    assert_eq!((lossy.memmap_returned, lossy.memmap_loss_suspected), (Some(false), false));
    assert_eq!(lossy.memmap_not_returned_bytes, GIB);

    let mut fleet = Fleet::keeping(0);
    fleet.add(with(1, "6.12.1", 64, Some(true), 0));
    fleet.add(with(2, "8.1.0", 96, Some(true), 0));
    assert!(fleet.regressed());
    assert_eq!(release(&fleet, "8.1.0").extra_dram_bytes_per_tib, Some(8 * GIB));
    assert_eq!(release(&fleet, "6.12.1").extra_dram_bytes_per_tib, Some(0));
}

#[test]
fn blind_hosts_and_those_that_do_not_enforce_are_named_and_counted() {
    let mut fleet = Fleet::keeping(0);
    for number in 0..150 {
        fleet.add(Host { ready: Some(false), ..host(number, "6.1.9", 128, GIB) });
    }
    let enforce = Some("enforce".to_owned());
    fleet.add(Host { mode: enforce.clone(), guard_effective: Some(false), ..host(200, "6.1.9", 64, 0) });
    fleet.add(Host { mode: enforce, guard_effective: Some(true), ready: Some(true), ..host(201, "6.1.9", 64, 0) });
    assert_eq!((fleet.blind().count, fleet.blind().first.len()), (150, NAMED));
    assert_eq!(*fleet.not_effective(), Truncated { count: 1, first: vec!["host200".to_owned()] });
    assert!(fleet.worst().is_empty());
}
