//! The protocol of the control socket. Pure: no I/O, no clock.
//!
//! A connection is for one request. Each side sends lines of JSON, the request is one:
//! ```json
//! {"schema":1,"request":{"allow":{"subject":{"region_start":"0x100000000"},"once":true,"reason":"restore of db3"}}}
//! {"schema":1,"request":"status"}
//! ```
//! The reply is a line with the [`Response`], or with an [`ErrorResponse`] that has the command's exit code:
//! ```json
//! {"schema":1,"answer":{"allowed":{"id":7}}}
//! {"schema":1,"refusal":{"exit_code":4,"message":"`bpf` is not in the kernel's list of security modules: …"}}
//! ```

mod answer;
mod bytes;
#[cfg(test)]
mod tests;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use self::answer::{
    AcceptedBaseline, AlertsStatus, Allowed, ErrorResponse, FiringAlertStatus, InfoBlockResponse, ModeResponse,
    ObservedBlock, PendingMessage, Released, Reply, Response, Revoked,
};
use crate::model::capacity::BaselineScope;
use crate::model::policy::{ExemptionSubject, ModeChoice};
use crate::model::units::parse_number;

/// The version of the protocol. It grows when a key changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// The limit of a request, its newline included, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// The longest duration of an exemption made by `allow`, in seconds: 7 days.
pub const MAX_EXEMPTION_S: u64 = 7 * 24 * 60 * 60;

/// The longest reason, in bytes: it is kept and repeated with each event that it explains.
pub const MAX_REASON_BYTES: usize = 512;

/// The longest name of a namespace, in bytes: a kernel's device name has 20 at most, a uuid 36.
const MAX_NAME_BYTES: usize = 64;

/// A request to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Change the mode. Answered by [`Response::Mode`] once it is in force.
    Mode {
        /// The mode from now on, until a person changes it.
        mode: ModeChoice,
        /// Why; recorded in the event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Allow creations that would be denied. Answered by [`Response::Allowed`].
    Allow(Allow),
    /// Revoke an exemption that `allow` made. Answered by [`Response::Revoked`].
    Revoke {
        /// Its number.
        id: u64,
    },
    /// Accept what something costs now as its baseline. Answered by [`Response::BaselineAccepted`].
    AcceptBaseline {
        /// Whose cost.
        scope: BaselineScope,
        /// Why; recorded in the event.
        reason: String,
    },
    /// Report the status. Answered by [`Response::Status`].
    Status,
    /// List the firing alerts and their receivers. Answered by [`Response::Alerts`].
    Alerts,
    /// Remove the pins that keep the guard in the kernel when the agent ends. Answered by [`Response::Released`].
    Release,
    /// Send the saved info block of a namespace. Answered by [`Response::Block`].
    Block {
        /// `namespace0.0`, or its namespace uuid.
        namespace: String,
    },
    /// List the info blocks that namespaces were enabled with. Answered by [`Response::InfoBlocks`].
    InfoBlocks,
}

/// A requested exemption. It expires: after one creation, after a time, or at whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// What it is for.
    pub subject: ExemptionSubject,
    /// Whether it is spent by one creation.
    #[serde(default)]
    pub once: bool,
    /// How long it is in force, in seconds, up to [`MAX_EXEMPTION_S`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// Why.
    pub reason: String,
}

/// A request with the version of the protocol: one line.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Envelope<R> {
    schema: u32,
    request: R,
}

/// Parsed first: an agent of another version may not know the other keys.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

impl Request {
    /// Parses a request and validates it against the limits above.
    ///
    /// # Errors
    /// What is wrong with it, with exit code 2.
    pub fn parse(line: &[u8]) -> Result<Self, ErrorResponse> {
        let malformed = |error: serde_json::Error| ErrorResponse::usage(format!("the request is malformed: {error}"));
        let Version { schema } = serde_json::from_slice(line).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(ErrorResponse::usage(format!(
                "the request has schema {schema} and this agent ({}) speaks {SCHEMA}: use the pfnwatch that it runs",
                env!("CARGO_PKG_VERSION")
            )));
        }
        let Envelope { request, .. }: Envelope<Self> = serde_json::from_slice(line).map_err(malformed)?;
        request.check()?;
        Ok(request)
    }

    /// The request as a line, newline included.
    ///
    /// # Errors
    /// It is not valid: see [`Self::parse`].
    pub fn line(&self) -> Result<Vec<u8>, ErrorResponse> {
        self.check()?;
        let line = serde_json::to_vec(&Envelope { schema: SCHEMA, request: self });
        let mut line = line.map_err(|error| ErrorResponse::error(format!("the request cannot be written: {error}")))?;
        line.push(b'\n');
        Ok(line)
    }

    /// Whether what it changes must reach a guard that is in the kernel.
    #[must_use]
    pub const fn changes_guard(&self) -> bool {
        matches!(self, Self::Mode { .. } | Self::Allow(_) | Self::Revoke { .. })
    }

    /// Whether it changes nothing, and its answer contains nothing that only root may see.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        match self {
            Self::Status | Self::Alerts => true,
            Self::Mode { .. }
            | Self::Allow(_)
            | Self::Revoke { .. }
            | Self::AcceptBaseline { .. }
            | Self::Release
            | Self::Block { .. }
            | Self::InfoBlocks => false,
        }
    }

    fn check(&self) -> Result<(), ErrorResponse> {
        match self {
            Self::Mode { reason, .. } => reason.as_deref().map_or(Ok(()), check_reason),
            Self::Allow(allow) => allow.check(),
            Self::AcceptBaseline { scope, reason } => check_scope(scope).and_then(|()| check_reason(reason)),
            Self::Block { namespace } => check_name(namespace),
            Self::Revoke { .. } | Self::Status | Self::Alerts | Self::Release | Self::InfoBlocks => Ok(()),
        }
    }
}

impl Allow {
    fn check(&self) -> Result<(), ErrorResponse> {
        match self.for_seconds {
            None if !self.once => {
                Err(ErrorResponse::usage("an exemption must expire: give --once (one creation), --for TIME, or both"))
            }
            Some(seconds) if !(1..=MAX_EXEMPTION_S).contains(&seconds) => Err(ErrorResponse::usage(format!(
                "an exemption cannot last {seconds} s: from 1 s to 7 days; a lasting one belongs into the policy"
            ))),
            _ => check_subject(self.subject).and_then(|()| check_reason(&self.reason)),
        }
    }
}

/// An absent value must not become an identity.
fn check_subject(subject: ExemptionSubject) -> Result<(), ErrorResponse> {
    let nothing = match subject {
        ExemptionSubject::RegionCookie(cookie) => cookie == 0,
        ExemptionSubject::RegionStart(_) => false,
        ExemptionSubject::Namespace(uuid) => uuid.is_nil(),
    };
    if nothing {
        return Err(ErrorResponse::usage(
            "regions and namespaces without labels have no such id: exempt the region by its start",
        ));
    }
    Ok(())
}

fn check_scope(scope: &BaselineScope) -> Result<(), ErrorResponse> {
    match scope {
        BaselineScope::Host => Ok(()),
        BaselineScope::Namespace(name) | BaselineScope::Device(name) => check_name(name),
    }
}

fn check_reason(reason: &str) -> Result<(), ErrorResponse> {
    if reason.trim().is_empty() {
        return Err(ErrorResponse::usage("the reason is empty: give one for whoever reads the event"));
    }
    if reason.len() > MAX_REASON_BYTES {
        return Err(ErrorResponse::usage(format!("the reason has more than {MAX_REASON_BYTES} bytes")));
    }
    // It is printed on terminals and in logs, in one line with other words.
    if reason.chars().any(char::is_control) {
        return Err(ErrorResponse::usage("the reason must be one line, without control characters"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), ErrorResponse> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(ErrorResponse::usage(
            "a namespace is named as in namespace0.0, or by its namespace uuid, and a device as in dax0.0",
        ))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireSubject {
    RegionSetCookie(Hex),
    RegionStart(Hex),
    NamespaceUuid(Uuid),
}

/// `"0x100000000"`: addresses and cookies need all of their 64 bits, which many JSON readers truncate.
struct Hex(u64);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = Some(&*text).filter(|text| text.starts_with("0x")).and_then(parse_number);
        number.map(Self).ok_or_else(|| D::Error::custom("it must be a number of 64 bits as in \"0x100000000\""))
    }
}

impl<'de> Deserialize<'de> for ExemptionSubject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WireSubject::deserialize(deserializer)? {
            WireSubject::RegionSetCookie(Hex(cookie)) => Self::RegionCookie(cookie),
            WireSubject::RegionStart(Hex(start)) => Self::RegionStart(start),
            WireSubject::NamespaceUuid(uuid) => Self::Namespace(uuid),
        })
    }
}
