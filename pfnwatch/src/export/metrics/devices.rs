//! The devices that no namespace owns, and their sums.

use super::encode::{Family, MetricLabels};
use crate::model::device::AssessedDevice;
use crate::model::scan_result::ScanResult;

struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&AssessedDevice) -> Option<u64>,
}

const GAUGES: [Gauge; 7] = [
    Gauge {
        name: "pfnwatch_device_size_bytes",
        help: "Size of the device, which no namespace owns.",
        value: |it| it.device.size.clone().ok(),
    },
    Gauge {
        name: "pfnwatch_device_usable_bytes",
        help: "Bytes of the device that programs can use.",
        value: |it| it.memory.usable,
    },
    Gauge {
        name: "pfnwatch_device_online_bytes",
        help: "Bytes of the device in use as system RAM.",
        value: |it| it.memory.online,
    },
    Gauge {
        name: "pfnwatch_device_offline_bytes",
        help: "Bytes of the device that are added as system RAM and offline.",
        value: |it| it.memory.offline,
    },
    Gauge {
        name: "pfnwatch_device_stranded_bytes",
        help: "Bytes of the device that cannot be system RAM because they do not fill a memory block.",
        value: |it| it.memory.stranded,
    },
    Gauge {
        name: "pfnwatch_device_memmap_device_bytes",
        help: "Bytes that the memmap takes on the device itself.",
        value: |it| it.memory.on_device(),
    },
    Gauge {
        name: "pfnwatch_device_memmap_dram_bytes",
        help: "DRAM that holds the struct pages of the device.",
        value: |it| it.memory.dram(),
    },
];

pub(super) fn families(scan: &ScanResult) -> Vec<Family> {
    let known = |gauge: &Gauge| {
        let values = scan.devices.iter().filter_map(|it| Some((it, (gauge.value)(it)?)));
        values.fold(Family::gauge(gauge.name, gauge.help), |family, (it, value)| family.with(labels(it), value))
    };
    let mut families: Vec<Family> = GAUGES.iter().map(known).collect();
    let sum = |name, help, bytes: u64| Family::gauge(name, help).value(bytes);
    let totals = &scan.device_totals;
    families.extend([
        sum("pfnwatch_host_devices", "Devices of this host that no namespace owns.", totals.devices),
        sum("pfnwatch_host_device_size_bytes", "Sum of the devices' sizes.", totals.size_bytes),
        sum("pfnwatch_host_device_online_bytes", "Sum of the bytes in use as system RAM.", totals.online_bytes),
        sum(
            "pfnwatch_host_device_stranded_bytes",
            "Sum of the stranded bytes, which do not fill a memory block.",
            totals.stranded_bytes,
        ),
        sum(
            "pfnwatch_host_device_memmap_dram_bytes",
            "Sum of the DRAM that holds struct pages of devices, as far as it is known.",
            totals.memmap_dram_bytes,
        ),
        sum(
            "pfnwatch_host_device_memmap_dram_unknown",
            "Devices for which the DRAM for struct pages is unknown.",
            totals.memmap_dram_unknown,
        ),
    ]);
    families
}

fn labels(AssessedDevice { device, .. }: &AssessedDevice) -> MetricLabels {
    vec![
        ("device", device.name.clone()),
        ("kind", device.kind.as_str().to_owned()),
        ("mode", device.driver.mode().to_owned()),
    ]
}
