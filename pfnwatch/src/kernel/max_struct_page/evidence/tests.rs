use super::*;

const AT: Addresses = Addresses { store: 0x10, shift: None };

fn evidence(bytes: u64, source: Source) -> Evidence {
    Evidence { max: MaxStructPage { bytes, overridden_bytes: None }, source }
}

fn running() -> Source {
    Source::RunningCode { function: "nvdimm_setup_pfn".into(), at: AT }
}

fn file() -> Source {
    Source::ModuleFile { file: "libnvdimm.ko".into(), function: "nvdimm_setup_pfn".into(), at: AT, build_id: None }
}

#[test]
fn upstream_releases_only() {
    let of = |release| of_release(release).map(|evidence| evidence.max.bytes);
    for regressed in ["6.1.0", "6.1.0-rc1", "6.1.11", "6.2.0-rc1", "6.2.0-rc7"] {
        assert_eq!(of(regressed), Some(128), "{regressed}");
    }
    for good in ["5.10.262", "6.0.0", "6.1.12", "6.1.192", "6.2.0-rc8", "6.2.0", "6.12.107", "7.3.4"] {
        assert_eq!(of(good), Some(64), "{good}");
    }
    for unknown in [
        "6.1.0-50-amd64",
        "6.1.5-200.fc37.x86_64",
        "6.2.0-20-generic",
        "6.1.0+",
        "6.1.+5",
        "6.1",
        "6.1.0-rc",
        "6.1.0.1",
        "8.0.0",
        "",
    ] {
        assert_eq!(of(unknown), None, "{unknown}");
    }
}

#[test]
fn the_strongest_counts_and_a_conflict_stays_visible() {
    let block = Source::ObservedBlock { namespace: "namespace0.0".into() };
    let resolved = resolve(vec![evidence(64, file()), evidence(128, block.clone()), evidence(128, running())]);
    assert_eq!(resolved.best, Some(evidence(128, block)));
    assert_eq!(resolved.agreeing, [evidence(128, running())]);
    assert_eq!(resolved.conflicting, [evidence(64, file())]);
    assert_eq!(resolved.agreed(), None, "not even the strongest is relied on");
}

#[test]
fn a_release_unsettles_nothing() {
    let weak = of_release("6.1.5").unwrap();
    let resolved = resolve(vec![weak.clone(), evidence(64, running())]);
    assert_eq!((resolved.agreed().unwrap().bytes, resolved.conflicting), (64, vec![weak]));
}

#[test]
fn a_release_alone_proves_nothing() {
    let weak = resolve(vec![of_release("6.1.12").unwrap()]);
    assert_eq!((weak.agreed().map(|max| max.bytes), weak.proven()), (Some(64), None));
    for shown in [file(), running(), Source::ObservedBlock { namespace: "namespace0.0".into() }] {
        let resolved = resolve(vec![of_release("6.1.12").unwrap(), evidence(64, shown)]);
        assert_eq!(resolved.proven(), resolved.agreed());
        assert!(resolved.proven().is_some());
    }
}

#[test]
fn an_overridden_size_is_no_conflict() {
    let code = Evidence { max: MaxStructPage { bytes: 32, overridden_bytes: Some(64) }, source: running() };
    let block = evidence(64, Source::ObservedBlock { namespace: "namespace0.0".into() });
    assert_eq!(resolve(vec![code, block]).conflicting, []);
}

#[test]
fn nothing_is_known_from_nothing() {
    assert_eq!(resolve(Vec::new()).agreed(), None);
}
