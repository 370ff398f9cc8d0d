//! The domain events, for people and programs. As JSON each is one line with `"schema": 1`.

mod agent;
mod capacity;
mod device;
mod existing;
mod guard;
mod guard_decision;
mod memmap;
mod setup;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use strum::{IntoStaticStr, VariantNames};
use uuid::Uuid;

pub use self::agent::{
    Blind, DecodeFailure, LostRecords, MaxStructPageReport, MaxStructPageStatus, ObservationState, ProgramState, Ready,
    RecordTotals,
};
pub use self::capacity::{BaselineAccepted, CapacityRegression};
pub use self::device::{DeviceAppeared, DeviceChanged, DeviceDisappeared, DeviceId, DeviceUse, MemoryLeftOnline};
pub use self::existing::ExistingNamespace;
pub use self::guard::{ExemptionChange, GuardState, GuardTransfer, ModeChanged, PolicyLoaded, PolicyRefused};
pub use self::guard_decision::{BlockOrigin, ExemptionUsed, GuardDecision, ReplacedBlock, UnjudgedReason};
pub use self::memmap::MemmapNotReturned;
pub use self::setup::{
    BlockState, EventAssessment, GuardVerdict, Prediction, SetUp, SetUpOutcome, Sizes, personality_name,
};

/// The version of the JSON. It grows when a key changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its number in the event store, never used again; null if the event store does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Whether the event store could not save it. It may still be saved later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uncommitted: bool,
    /// When it happened by the wall clock: for what the kernel reports, when the attempt ended.
    pub time: Time,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

impl Event {
    /// An event of that time, which is in no event store yet.
    pub const fn at(time: Time, body: Body) -> Self {
        Self { schema: SCHEMA, id: None, uncommitted: false, time, body }
    }
}

/// A point of time, written as RFC 3339 in UTC with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub SystemTime);

impl Time {
    /// The last second that RFC 3339 can write, since 1970: 9999-12-31T23:59:59Z.
    pub const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

    /// To the second.
    #[must_use]
    pub fn seconds(self) -> humantime::Rfc3339Timestamp {
        humantime::format_rfc3339_seconds(self.in_range())
    }

    /// To the millisecond.
    #[must_use]
    pub fn millis(self) -> humantime::Rfc3339Timestamp {
        humantime::format_rfc3339_millis(self.in_range())
    }

    /// Clamps years that RFC 3339 cannot write: before 1970 and after 9999.
    fn in_range(self) -> SystemTime {
        let last = UNIX_EPOCH.checked_add(Self::LAST_SECOND).unwrap_or(UNIX_EPOCH);
        self.0.clamp(UNIX_EPOCH, last)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.in_range()).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happened. The name of the variant is the `event` of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize, IntoStaticStr, VariantNames)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Body {
    /// The kernel set a memmap up, or refused to: an info block was made, or one existed.
    SetUp(Box<SetUp>),
    /// A driver tried a namespace or a device without a memmap of its own: raw, sector, or one that was passed on.
    Probe(Box<Probe>),
    /// User space made a device claim or release a namespace.
    Claim(NamespaceChange),
    /// A driver was unbound from a device: the device is disabled.
    Unbind(NamespaceChange),
    /// The label of a namespace was written: made, resized or renamed. Labels that change neither its size nor its name are not
    /// reported: ndctl writes several for each creation.
    Label(NamespaceChange),
    /// The label of a namespace was deleted: it is destroyed.
    Destroy(NamespaceChange),
    /// The guard refused a creation: nothing was written.
    Denied(Box<GuardDecision>),
    /// The guard allowed a creation that enforce would have refused.
    WouldDeny(Box<GuardDecision>),
    /// The guard allowed an oversize creation by an exemption.
    Exempt(Box<GuardDecision>),
    /// The guard allowed a creation that it could not judge.
    Unjudged(Box<GuardDecision>),
    /// A namespace with map=dev that existed when observation began.
    ExistingNamespace(Box<ExistingNamespace>),
    /// A capacity regression: something costs more than before.
    CapacityRegression(Box<CapacityRegression>),
    /// A capacity regression has ended.
    CapacityRegressionEnded(Box<CapacityRegression>),
    /// A memmap in DRAM was removed, and the kernel does not return it, or is suspected not to.
    MemmapNotReturned(Box<MemmapNotReturned>),
    /// A device of the dax bus that no namespace owns appeared.
    DeviceAppeared(DeviceAppeared),
    /// Such a device changed its driver, its memory blocks or its size.
    DeviceChanged(Box<DeviceChanged>),
    /// Such a device disappeared.
    DeviceDisappeared(Box<DeviceDisappeared>),
    /// A namespace was destroyed, and memory of it stays online as system RAM.
    MemoryLeftOnline(Box<MemoryLeftOnline>),
    /// Somebody accepted the present cost as the new baseline.
    BaselineAccepted(Box<BaselineAccepted>),
    /// The guard's mode changed.
    ModeChanged(ModeChanged),
    /// A policy is in force.
    PolicyLoaded(PolicyLoaded),
    /// A policy was rejected.
    PolicyRefused(PolicyRefused),
    /// An exemption was granted.
    ExemptionGranted(ExemptionChange),
    /// An exemption for one creation was spent.
    ExemptionSpent(ExemptionChange),
    /// An exemption ended: it expired, or it was revoked.
    ExemptionEnded(ExemptionChange),
    /// The state of the guard has changed.
    GuardState(GuardState),
    /// A guard that an earlier agent left in the kernel was taken over.
    GuardTakenOver(GuardTransfer),
    /// A guard that stayed without an agent was removed.
    GuardReleased(GuardTransfer),
    /// The agent observes, or is idle because there is nothing to observe.
    Ready(Ready),
    /// What the running kernel reserves for each page, if known.
    MaxStructPage(MaxStructPageReport),
    /// The agent no longer observes.
    Blind(Blind),
    /// Records of the kernel's side were lost or could not be completed.
    Lost(LostRecords),
    /// A record could not be decoded.
    DecodeError(DecodeFailure),
    /// The agent ends.
    Stopped(RecordTotals),
}

/// Who did it. Absent if the kernel did it by itself, in a thread of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Actor {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// The task's name.
    pub comm: String,
    /// Inode number of its cgroup's directory in the v2 hierarchy.
    pub cgroup_id: u64,
    /// That cgroup's path, as far as it still exists when the event is read.
    pub cgroup: Option<String>,
}

/// A namespace, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceId {
    /// `namespace0.0`
    pub namespace: String,
    /// The namespace uuid, from the label; null on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// How a driver's attempt on a device ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempt {
    /// The device that was tried: `pfn0.1`.
    pub device: String,
    /// Its region.
    pub region: Option<String>,
    /// The driver that tried: `nd_pmem`, `dax_pmem`.
    pub driver: Option<String>,
    /// What the driver core or the driver returned: 0, or a negative error number; null if that was not seen.
    pub bind_code: Option<i32>,
    /// How long the attempt took, in microseconds.
    pub duration_us: u64,
    /// Whether some of the kernel's memory could not be read, so that fields may be missing.
    pub incomplete: bool,
    /// Who asked for it.
    pub by: Option<Actor>,
}

/// A driver's attempt of which no set-up of a memmap was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// How it went.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// The namespace.
    #[serde(flatten)]
    pub namespace: Option<NamespaceId>,
    /// Whether it was enabled so, or passed on to a pfn, dax or btt device.
    pub result: ProbeResult,
    /// Whether the probe found an info block on the namespace, accepted or not; null if it did not look.
    pub found_block: Option<bool>,
    /// The meaning of these values, in words.
    pub meaning: String,
}

/// How an attempt without a set-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// The driver took the device, which has no memmap of its own.
    Enabled,
    /// The driver took a pfn or dax device, and the set-up of its memmap was not seen.
    SetUpNotSeen,
    /// A pfn, dax or btt device takes the namespace instead.
    PassedOn,
    /// The driver refused.
    Refused,
    /// The end was not seen.
    Unknown,
}

/// Something that happens to a device or a namespace outside an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceChange {
    /// The device.
    pub device: String,
    /// Its region.
    pub region: Option<String>,
    /// The namespace; null if a claim is released.
    pub namespace: Option<String>,
    /// Its namespace uuid.
    pub namespace_uuid: Option<Uuid>,
    /// The size its label gets, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The name in its label, if it has one (`ndctl create-namespace --name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_name: Option<String>,
    /// Whether some of the kernel's memory could not be read.
    pub incomplete: bool,
    /// Who asked for it.
    pub by: Option<Actor>,
}

impl Event {
    pub fn actor_mut(&mut self) -> Option<&mut Actor> {
        match &mut self.body {
            Body::SetUp(setup) => setup.attempt.by.as_mut(),
            Body::Probe(probe) => probe.attempt.by.as_mut(),
            Body::Claim(it) | Body::Unbind(it) | Body::Label(it) | Body::Destroy(it) => it.by.as_mut(),
            Body::Denied(it) | Body::WouldDeny(it) | Body::Exempt(it) | Body::Unjudged(it) => it.by.as_mut(),
            Body::ModeChanged(it) => it.by.as_mut(),
            Body::ExemptionGranted(it) | Body::ExemptionSpent(it) | Body::ExemptionEnded(it) => it.by.as_mut(),
            Body::GuardTakenOver(it) | Body::GuardReleased(it) => it.by.as_mut(),
            Body::BaselineAccepted(it) => it.by.as_mut(),
            Body::MemmapNotReturned(it) => it.by.as_mut(),
            Body::MemoryLeftOnline(it) => it.by.as_mut(),
            Body::ExistingNamespace(_)
            | Body::PolicyLoaded(_)
            | Body::PolicyRefused(_)
            | Body::GuardState(_)
            | Body::Ready(_)
            | Body::MaxStructPage(_)
            | Body::CapacityRegression(_)
            | Body::CapacityRegressionEnded(_)
            | Body::DeviceAppeared(_)
            | Body::DeviceChanged(_)
            | Body::DeviceDisappeared(_)
            | Body::Blind(_)
            | Body::Lost(_)
            | Body::DecodeError(_)
            | Body::Stopped(_) => None,
        }
    }

    /// The guard's decision, if the event is about one.
    pub fn guard_decision(&self) -> Option<&GuardDecision> {
        match &self.body {
            Body::Denied(it) | Body::WouldDeny(it) | Body::Exempt(it) | Body::Unjudged(it) => Some(it),
            _ => None,
        }
    }

    pub fn guard_decision_mut(&mut self) -> Option<&mut GuardDecision> {
        match &mut self.body {
            Body::Denied(it) | Body::WouldDeny(it) | Body::Exempt(it) | Body::Unjudged(it) => Some(it),
            _ => None,
        }
    }
}

/// The wall-clock time `since_boot` after the boot at `booted`.
pub fn wall_clock(booted: SystemTime, since_boot: Duration) -> Time {
    Time(booted.checked_add(since_boot).unwrap_or(booted))
}

impl Body {
    pub const KINDS: &[&'static str] = Self::VARIANTS;

    /// Its kind: the `event` of its JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Blind, LostRecords, RecordTotals};

    #[test]
    fn no_time_panics() {
        assert_eq!(Time(UNIX_EPOCH - Duration::from_secs(1)).seconds().to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Time(UNIX_EPOCH + Duration::from_secs(1 << 40)).millis().to_string(), "9999-12-31T23:59:59.000Z");
        assert_eq!(Time(UNIX_EPOCH + Duration::from_secs(1 << 40)).to_string(), "9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn kinds_are_what_json_says() {
        let reason = "why".to_owned();
        for body in
            [Body::Blind(Blind { reason }), Body::Lost(LostRecords::default()), Body::Stopped(RecordTotals::default())]
        {
            assert_eq!(serde_json::to_value(&body).unwrap()["event"], body.kind());
            assert!(Body::KINDS.contains(&body.kind()));
        }
    }

    #[test]
    fn kinds_are_those_of_the_schema() {
        let schema = schemars::schema_for!(Body).to_value();
        let variants = schema["oneOf"].as_array().unwrap().iter();
        let kinds: Vec<_> = variants.map(|variant| variant["properties"]["event"]["const"].as_str().unwrap()).collect();
        assert_eq!(kinds, Body::KINDS);
    }
}
