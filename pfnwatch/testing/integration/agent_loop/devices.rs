//! Devices that no namespace owns: what becomes of them is events.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use pfnwatch_common::record::{CaptureFlags, MemmapRemoval, Notice, NoticeKind, TaskInfo};
use zerocopy::IntoBytes as _;

use super::*;
use crate::code::memmap_free::MemmapReturn;
use crate::testing::events::name;
use crate::testing::tree::DaxDevice;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BLOCK: u64 = 128 * MIB;
/// The first block of the device.
const FIRST: u64 = 366;
const DEBOUNCE: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(20);

const KINDS: [&str; 4] = ["device_appeared", "device_changed", "device_disappeared", "memory_left_online"];

impl Rig {
    fn tree(&self) -> Tree {
        Tree::new(self.folder.path()).unwrap()
    }

    fn device_events(&self) -> Vec<Value> {
        self.log.events().into_iter().filter(|event| KINDS.iter().any(|kind| event["event"] == *kind)).collect()
    }

    /// Waits until there are so many events about devices, which another thread has to read sysfs for, and returns the last.
    async fn device_event(&self, count: usize) -> Value {
        let began = std::time::Instant::now();
        loop {
            self.wait_until_idle().await;
            let events = self.device_events();
            if events.len() >= count {
                assert_eq!(events.len(), count, "{events:#?}");
                return events.last().unwrap().clone();
            }
            assert!(began.elapsed() < TIMEOUT, "{count} events: {events:#?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            // For a message that came while an earlier reading went on.
            self.clock.advance(DEBOUNCE);
        }
    }

    /// The kernel sends messages, and then none for a while.
    async fn device_messages(&self, count: u64) {
        self.kernel.send_device_messages(count);
        self.wait_until_idle().await;
        for _ in 0..2 {
            self.clock.advance(DEBOUNCE);
            self.wait_until_idle().await;
        }
    }

    fn bind(&self, driver: Option<&str>) {
        let link = self.tree().dax_folder(&DaxDevice::default()).join("driver");
        let _ = fs::remove_file(&link);
        if let Some(driver) = driver {
            symlink(format!("../../../bus/drivers/{driver}"), link).unwrap();
        }
    }

    fn remove_blocks(&self) {
        for number in FIRST..FIRST + 8 {
            fs::remove_dir_all(self.folder.path().join(format!("devices/system/memory/memory{number}"))).unwrap();
        }
    }
}

#[test]
fn thousands_of_messages_are_one_event_of_each_device() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, "", async |rig| {
        rig.tree().memory_hotplug(BLOCK, "N").unwrap();
        rig.tree().dax_device(&DaxDevice::default()).unwrap();
        rig.device_messages(1).await;
        let appeared = rig.device_event(1).await;
        assert_eq!((&appeared["device"], &appeared["mode"]), (&"dax0.0".into(), &"disabled".into()), "{appeared}");
        assert!(appeared.get("by").is_none(), "nobody was seen doing it");

        rig.bind(Some("kmem"));
        rig.tree().memory_blocks(FIRST..FIRST + 8, "online").unwrap();
        rig.device_messages(5_000).await;
        let changed = rig.device_event(2).await;
        assert_eq!((&changed["before"]["driver"], &changed["after"]["driver"]), (&Value::Null, &"kmem".into()));
        assert_eq!(changed["after"]["online_bytes"], GIB);
        assert_eq!(changed["after"]["memmap_dram_bytes"], 16 * MIB);

        // Without a message, as in a foreign network namespace.
        rig.tree().memory_blocks(FIRST..FIRST + 1, "offline").unwrap();
        rig.tick().await;
        let changed = rig.device_event(3).await;
        assert_eq!(changed["before"]["online_bytes"], GIB);
        assert_eq!(
            (&changed["after"]["online_bytes"], &changed["after"]["offline_bytes"]),
            (&(GIB - BLOCK).into(), &BLOCK.into())
        );

        // Its place is gone, and its memory is not.
        fs::remove_file(rig.folder.path().join("bus/dax/devices/dax0.0")).unwrap();
        rig.device_messages(1).await;
        let gone = rig.device_event(4).await;
        assert_eq!((&gone["event"], &gone["left_online_bytes"]), (&"device_disappeared".into(), &(GIB - BLOCK).into()));
        rig.device_messages(1).await;
        rig.device_event(4).await;
    });
}

#[test]
fn devices_that_are_there_at_the_start_are_no_news() {
    let kernel = FakeKernel::sound();
    let (rig, signals) = Rig::new(kernel, "");
    rig.tree().memory_hotplug(BLOCK, "N").unwrap();
    rig.tree().dax_device(&DaxDevice { driver: Some("device_dax"), ..DaxDevice::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let act = async {
            rig.wait_until_idle().await;
            rig.device_messages(1).await;
            rig.tick().await;
            rig.bind(None);
            rig.device_messages(1).await;
            let changed = rig.device_event(1).await;
            assert_eq!((&changed["before"]["mode"], &changed["after"]["mode"]), (&"devdax".into(), &"disabled".into()));
            rig.end();
        };
        tokio::join!(rig.run(signals), act).0.unwrap();
    });
}

/// A devdax namespace whose memory is system RAM; its own device belongs to it.
#[test]
fn memory_of_a_destroyed_namespace_that_stays_online_is_reported() {
    let kernel = FakeKernel::sound();
    let uuid: [u8; 16] = uuid::Uuid::parse_str("00000001-0000-4000-8000-000000000000").unwrap().into_bytes();
    scenario(&kernel, "", async |rig| {
        let pmem = Pmem { dax: true, ..Pmem::default() };
        rig.tree().namespace(&pmem).unwrap();
        rig.tree().memory_hotplug(BLOCK, "N").unwrap();
        rig.tree().memory_blocks(pmem.start / BLOCK + 4..pmem.start / BLOCK + 8, "online").unwrap();
        rig.kernel.load_module(true);
        rig.wait_until_idle().await;
        let notice = Notice {
            what: NoticeKind::Label as u32,
            at_ns: 1_003_000_000_000,
            task: TaskInfo { pid: 42, tid: 42, uid: 0, flags: 0, cgroup_id: 1, comm: name("ndctl") },
            device: name("namespace0.0"),
            namespace: name("namespace0.0"),
            namespace_uuid: uuid,
            seen: CaptureFlags::NAMESPACE_UUID,
            ..Notice::EMPTY
        };
        rig.kernel.send(Message::Record(Bytes::copy_from_slice(notice.as_bytes())));
        rig.wait_until_idle().await;
        rig.clock.advance(DEBOUNCE);
        let left = rig.device_event(1).await;
        assert_eq!((&left["event"], &left["namespace"]), (&"memory_left_online".into(), &"namespace0.0".into()));
        assert_eq!((&left["left_online_bytes"], &left["by"]["pid"]), (&(4 * BLOCK).into(), &42.into()));
    });
}

/// What a probe sees of system RAM that is removed has the name of its device.
#[test]
fn removed_system_ram_is_lost_with_its_device() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.memmap_return = Some(Ok(MemmapReturn::NotReturned)));
    let events = scenario(&kernel, "", async |rig| {
        rig.tree().memory_hotplug(BLOCK, "N").unwrap();
        rig.tree().memory_blocks(FIRST..FIRST + 8, "offline").unwrap();
        rig.tree().dax_device(&DaxDevice { driver: Some("kmem"), ..DaxDevice::default() }).unwrap();
        rig.device_messages(1).await;
        rig.device_event(1).await;
        let start = DaxDevice::default().start;
        let removal = MemmapRemoval {
            at_ns: 1_003_000_000_000,
            task: TaskInfo { pid: 42, tid: 42, uid: 0, flags: 0, cgroup_id: 1, comm: name("rmmod") },
            start,
            end: start + GIB - 1,
            memory_blocks: 1,
            ..MemmapRemoval::EMPTY
        };
        rig.kernel.send(Message::Record(Bytes::copy_from_slice(removal.as_bytes())));
        // Memory of which nothing is known.
        let other = MemmapRemoval { start: 0, end: GIB - 1, ..removal };
        rig.kernel.send(Message::Record(Bytes::copy_from_slice(other.as_bytes())));
        rig.wait_until_idle().await;
        rig.bind(None);
        rig.remove_blocks();
        rig.device_messages(1).await;
        rig.device_event(2).await;
    });
    let [lost, other] = of_kind(&events, "memmap_not_returned")[..] else { panic!("{events:#?}") };
    assert_eq!((&lost["device"], &lost["at_most"], &lost["by"]["pid"]), (&"dax0.0".into(), &false.into(), &42.into()));
    assert_eq!(lost["lost_bytes"], 8 * (2 * MIB - 4096));
    assert_eq!((other.get("device"), &other["at_most"]), (None, &true.into()), "its memmap may be from boot");
}

/// Without libnvdimm no probe is attached.
#[test]
fn a_removal_that_no_probe_sees_is_an_upper_limit() {
    let kernel = FakeKernel::default();
    kernel.set(|state| state.memmap_return = Some(Ok(MemmapReturn::NotReturned)));
    let events = scenario(&kernel, "", async |rig| {
        rig.tree().memory_hotplug(BLOCK, "N").unwrap();
        rig.tree().memory_blocks(FIRST..FIRST + 8, "online").unwrap();
        rig.tree().dax_device(&DaxDevice { driver: Some("kmem"), ..DaxDevice::default() }).unwrap();
        rig.device_messages(1).await;
        rig.device_event(1).await;
        rig.bind(None);
        rig.remove_blocks();
        rig.device_messages(1).await;
        rig.device_event(2).await;
        assert_eq!(rig.wait_until_idle().await.memmap_return.total_lost(), 8 * (2 * MIB - 4096));
    });
    let [lost] = of_kind(&events, "memmap_not_returned")[..] else { panic!("{events:#?}") };
    assert_eq!((&lost["device"], &lost["at_most"], &lost["by"]), (&"dax0.0".into(), &true.into(), &Value::Null));
}

#[test]
fn a_dax_bus_that_cannot_be_watched_degrades_the_agent() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, "", async |rig| {
        let parts = |status: Status| status.degraded.iter().map(|it| it.part).collect::<Vec<_>>();
        rig.tree().memory_hotplug(BLOCK, "N").unwrap();
        rig.kernel.set(|state| state.device_messages_error = Some("EPERM".to_owned()));
        rig.kernel.send_device_messages(1);
        assert_eq!(parts(rig.wait_until_idle().await), [DegradedPart::DeviceEvents]);
        // Without messages each tick looks.
        rig.tree().dax_device(&DaxDevice::default()).unwrap();
        rig.tick().await;
        rig.device_event(1).await;
        rig.kernel.set(|state| state.device_messages_error = None);
        assert_eq!(parts(rig.tick().await), []);
        rig.device_messages(1).await;
        // The bus cannot be listed.
        let devices = rig.folder.path().join("bus/dax/devices");
        let away = rig.folder.path().join("away");
        fs::rename(&devices, &away).unwrap();
        fs::write(&devices, "").unwrap();
        let began = std::time::Instant::now();
        while parts(rig.tick().await) != [DegradedPart::Devices] {
            assert!(began.elapsed() < TIMEOUT);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fs::remove_file(&devices).unwrap();
        fs::rename(&away, &devices).unwrap();
        while !parts(rig.tick().await).is_empty() {
            assert!(began.elapsed() < TIMEOUT);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // It was there all the time.
        rig.device_event(1).await;
    });
}
