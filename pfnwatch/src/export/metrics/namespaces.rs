//! The namespaces and their sums, the same for the agent's `/metrics` and `pfnwatch scan --format prom`.

use super::encode::{Family, MetricLabels};
use crate::model::facts::map_name;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::verdict::Verdict;

struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&AssessedNamespace) -> Option<u64>,
}

const GAUGES: [Gauge; 9] = [
    Gauge {
        name: "pfnwatch_namespace_size_bytes",
        help: "Size of the namespace.",
        value: |it| it.assessment.numbers.size,
    },
    Gauge {
        name: "pfnwatch_namespace_usable_bytes",
        help: "Usable bytes of the namespace.",
        value: |it| it.assessment.numbers.usable,
    },
    Gauge {
        name: "pfnwatch_namespace_reservation_bytes",
        help: "From the start of the namespace to its first usable byte.",
        value: |it| it.assessment.numbers.reservation,
    },
    Gauge {
        name: "pfnwatch_namespace_ideal_bytes",
        help: "The reservation that the same geometry gets at the reference struct page size.",
        value: |it| it.assessment.numbers.ideal,
    },
    Gauge {
        name: "pfnwatch_namespace_excess_bytes",
        help: "Excess: reservation minus ideal.",
        value: |it| it.assessment.numbers.excess,
    },
    Gauge {
        name: "pfnwatch_namespace_unused_bytes",
        help: "Reserved bytes that the running kernel's struct page does not need.",
        value: |it| it.assessment.numbers.unused,
    },
    Gauge {
        name: "pfnwatch_namespace_memmap_dram_bytes",
        help: "DRAM that holds the struct pages of the namespace; 0 while it is disabled.",
        value: |it| it.assessment.numbers.dram,
    },
    Gauge {
        name: "pfnwatch_namespace_oversize",
        help: "1 if the excess is above both thresholds.",
        value: |it| Some(u64::from(it.assessment.verdict == Verdict::Oversize)),
    },
    Gauge {
        name: "pfnwatch_namespace_unknown",
        help: "1 if there is no verdict.",
        value: |it| Some(u64::from(it.assessment.verdict == Verdict::Unknown)),
    },
];

const VERDICTS: [Verdict; 4] = [Verdict::Ok, Verdict::Oversize, Verdict::Refused, Verdict::Unknown];

#[must_use]
pub fn families(scan: &ScanResult) -> Vec<Family> {
    let all = &scan.namespaces;
    let mut families: Vec<Family> = GAUGES.iter().map(|gauge| known(gauge, all)).collect();
    families.push(verdicts(all));
    families.push(info(all));
    families.extend(host(scan));
    families.extend(scan.memmap_counter.map(|counter| {
        let help = "The kernel's nr_memmap_pages in bytes, with the memmaps of map=dev and of hotplugged memory.";
        Family::gauge("pfnwatch_kernel_memmap_bytes", help).value(counter.bytes)
    }));
    families
}

fn known(gauge: &Gauge, all: &[AssessedNamespace]) -> Family {
    let with = |family: Family, assessed| match (gauge.value)(assessed) {
        Some(value) => family.with(labels(assessed), value),
        None => family,
    };
    all.iter().fold(Family::gauge(gauge.name, gauge.help), with)
}

/// Labels that would change the identity of a time series are only in `pfnwatch_namespace_info`.
fn labels(assessed: &AssessedNamespace) -> MetricLabels {
    vec![
        ("namespace", assessed.namespace.name.clone()),
        ("region", assessed.namespace.region.clone()),
        ("mode", assessed.mode().to_owned()),
        ("map", assessed.map().map_or("", map_name).to_owned()),
    ]
}

fn verdicts(all: &[AssessedNamespace]) -> Family {
    let family = Family::gauge("pfnwatch_namespace_verdict", "1 for the namespace's verdict, 0 for the others.");
    all.iter().fold(family, |family, assessed| {
        VERDICTS.into_iter().fold(family, |family, verdict| {
            let mut labels = labels(assessed);
            labels.push(("verdict", verdict.as_str().to_owned()));
            family.with(labels, assessed.assessment.verdict == verdict)
        })
    })
}

fn info(all: &[AssessedNamespace]) -> Family {
    let help = "Identity of the namespace, its verdict's cause and evidence.";
    all.iter().fold(Family::info("pfnwatch_namespace", help), |family, assessed| {
        let AssessedNamespace { namespace, assessment, .. } = assessed;
        let uuid = namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil());
        let block = namespace.holder.as_ref().ok().and_then(|holder| holder.uuid.as_ref().ok());
        let labels = vec![
            ("namespace", namespace.name.clone()),
            ("region", namespace.region.clone()),
            ("uuid", uuid.map(ToString::to_string).unwrap_or_default()),
            ("block_uuid", block.map(ToString::to_string).unwrap_or_default()),
            ("cause", assessment.cause.as_str().to_owned()),
            ("evidence", assessment.evidence.map_or("", |evidence| evidence.as_str()).to_owned()),
        ];
        family.with(labels, 1_u64)
    })
}

fn host(scan: &ScanResult) -> [Family; 10] {
    let totals = &scan.totals;
    let sum = |name, help, bytes: u64| Family::gauge(name, help).value(bytes);
    [
        sum("pfnwatch_host_namespaces", "Namespaces on this host.", totals.namespaces),
        sum("pfnwatch_host_size_bytes", "Sum of the namespaces' sizes.", totals.size_bytes),
        sum("pfnwatch_host_usable_bytes", "Sum of the usable bytes.", totals.usable_bytes),
        sum("pfnwatch_host_reservation_bytes", "Sum of the namespaces' reservations.", totals.reservation_bytes),
        sum("pfnwatch_host_ideal_bytes", "Sum of the ideal reservations.", totals.ideal_bytes),
        sum("pfnwatch_host_excess_bytes", "Sum of the namespaces' excess.", totals.excess_bytes),
        sum(
            "pfnwatch_host_unused_bytes",
            "Sum of the reserved bytes that the running kernel does not use.",
            totals.unused_bytes,
        ),
        sum(
            "pfnwatch_host_memmap_dram_bytes",
            "Sum of the DRAM that holds struct pages of namespaces, as far as it is known.",
            totals.memmap_dram_bytes,
        ),
        sum(
            "pfnwatch_host_memmap_dram_unknown",
            "Namespaces for which the DRAM for struct pages is unknown.",
            totals.memmap_dram_unknown,
        ),
        sum(
            "pfnwatch_host_oversize",
            "1 if a namespace, or the host as a whole, is oversize.",
            u64::from(scan.verdict == Verdict::Oversize),
        ),
    ]
}
