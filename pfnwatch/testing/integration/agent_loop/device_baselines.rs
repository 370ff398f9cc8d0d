//! Devices of the dax bus under the running kernel and an earlier one.

use super::*;
use crate::model::capacity::{DeviceKey, DeviceRecord, DeviceState};
use crate::model::device::MemmapPlace;
use crate::model::store::Settings;
use crate::store::EventStore;
use crate::testing::tree::DaxDevice;

const GIB: u64 = 1 << 30;

/// As an agent under an earlier kernel has left it: all of the device was online.
fn leave_a_record(file: PathBuf) {
    let DaxDevice { name, start, size, .. } = DaxDevice::default();
    let device = DeviceKey { device: name.to_owned(), serial: None, start_address: start, size_bytes: size };
    let state = DeviceState {
        kernel: "5.10.1".to_owned(),
        seen: "2025-01-02T03:04:05.000000Z".to_owned(),
        mode: "system-ram".to_owned(),
        memmap_place: Some(MemmapPlace::Dram),
        memmap_bytes: Some(16 << 20),
        deduplicated: Some(false),
        online_bytes: GIB,
    };
    let mut store = EventStore::open(Settings { file: Some(file), ..Settings::default() }, |_| String::new());
    let record = DeviceRecord { device, last: Some(state.clone()), baseline: state, accepted: None };
    store.replace_devices(&[record]).unwrap();
}

#[test]
fn a_device_with_less_online_than_under_an_earlier_kernel_is_one_event_and_its_end_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.db");
    leave_a_record(file.clone());
    // libnvdimm is not needed for it.
    let (mut rig, signals) = Rig::new(FakeKernel::sound(), "");
    rig.store = Some(file);
    let tree = Tree::new(rig.folder.path()).unwrap();
    let device = DaxDevice { driver: Some("kmem"), ..DaxDevice::default() };
    let (block, first) = (128 << 20, device.start / (128 << 20));
    tree.memory_hotplug(block, "N").unwrap();
    tree.memory_blocks(first..first + 4, "online").unwrap();
    tree.memory_blocks(first + 4..first + 8, "offline").unwrap();
    tree.dax_device(&device).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let act = async {
            rig.wait_until_idle().await;
            rig.tick().await;
            rig.tick().await;
            tree.memory_blocks(first..first + 8, "online").unwrap();
            for _ in 0..10 {
                rig.tick().await;
            }
            rig.end();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = rig.run(signals) => ended,
            () = act => unreachable!("it waits for the agent's end"),
        }
    });
    ended.unwrap();
    let events = rig.log.events();
    let began = of_kind(&events, "capacity_regression");
    assert_eq!(began.len(), 1, "{began:?}");
    assert_eq!((&began[0]["subject"], &began[0]["device"]), (&"device".into(), &"dax0.0".into()));
    assert_eq!((&began[0]["lost_bytes"], &began[0]["before"]["kernel"]), (&(GIB / 2).into(), &"5.10.1".into()));
    assert_eq!(of_kind(&events, "capacity_regression_ended").len(), 1);
}
