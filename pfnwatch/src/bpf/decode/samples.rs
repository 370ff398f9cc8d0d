//! Records as the programs send them, for tests.

use std::time::{Duration, UNIX_EPOCH};

use pfnwatch_common::InfoBlock;
use pfnwatch_common::record::{Attempt, BLOCK_HEAD, CaptureFlags, Decision, Judgement, Personality, TaskInfo, Text};

use super::Context;

pub(crate) const ENODEV: i32 = -19;

pub(crate) fn context() -> Context {
    Context { booted: UNIX_EPOCH + Duration::from_secs(1_000), page_size: 4096, struct_page_size: Some(64) }
}

pub(crate) fn name<const N: usize>(text: &str) -> Text<N> {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Text(bytes)
}

/// What a good 6.12 kernel writes into a namespace of 1 GiB at 4 GiB, fsdax, map=dev, align 2 MiB.
pub(crate) fn block() -> InfoBlock {
    InfoBlock::sample(18 << 20, 64)
}

pub(crate) fn creation() -> Attempt {
    let mut head = [0; BLOCK_HEAD];
    head.copy_from_slice(&block().encode()[..BLOCK_HEAD]);
    Attempt {
        seen: CaptureFlags::SETUP_ENTERED
            .with(CaptureFlags::SETUP_RETURNED)
            .with(CaptureFlags::SETUP_VALIDATED)
            .with(CaptureFlags::BOUND)
            .with(CaptureFlags::NAMESPACE)
            .with(CaptureFlags::NAMESPACE_UUID)
            .with(CaptureFlags::DEVICE_UUID)
            .with(CaptureFlags::BLOCK),
        began_ns: 4_000_000,
        ended_ns: 5_000_000,
        task: TaskInfo { pid: 42, tid: 42, uid: 0, flags: 0, cgroup_id: 1, comm: name("ndctl") },
        device: name("pfn0.1"),
        region: name("region0"),
        driver: name("nd_pmem"),
        personality: Personality::Pfn as u32,
        setup_validate: ENODEV,
        mode: 2,
        align: 2 << 20,
        npfns: 257_536,
        namespace_start: 4 << 30,
        namespace_end: (5 << 30) - 1,
        namespace: name("namespace0.0"),
        namespace_personality: Personality::NamespacePmem as u32,
        namespace_uuid: [9; 16],
        device_uuid: [7; 16],
        block: head,
        ..Attempt::EMPTY
    }
}

/// The guard of a kernel with 128 refuses 1 GiB at 4 GiB, fsdax, align 2 MiB.
pub(crate) fn denial() -> Judgement {
    Judgement {
        seen: CaptureFlags::NAMESPACE.with(CaptureFlags::NAMESPACE_UUID).with(CaptureFlags::DEVICE_UUID),
        at_ns: 5_000_000,
        task: creation().task,
        device: name("pfn0.1"),
        region: name("region0"),
        namespace: name("namespace0.0"),
        personality: Personality::Pfn as u32,
        decision: Decision::Denied as u32,
        align: 2 << 20,
        namespace_start: 4 << 30,
        namespace_end: (5 << 30) - 1,
        dataoff: 34 << 20,
        end_trunc: 0,
        ideal_dataoff: 18 << 20,
        max_struct_page: 128,
        policy: 3,
        namespace_uuid: [9; 16],
        device_uuid: [7; 16],
        ..Judgement::EMPTY
    }
}
