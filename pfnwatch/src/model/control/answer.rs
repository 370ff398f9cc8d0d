//! What the agent answers.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use pfnwatch_common::superblock;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{SCHEMA, bytes};
use crate::model::alert::{Alert, DeliveryStats};
use crate::model::capacity::Cost;
use crate::model::event::NamespaceId;
use crate::model::exit::{Exit, ExitContext};
use crate::model::policy::{ExemptionSubject, Mode};
use crate::model::restore_commands;
use crate::model::status::Status;

/// The answer to a request that the agent carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The mode is in force.
    Mode(ModeResponse),
    /// The exemption is in force.
    Allowed(Allowed),
    /// The exemption is revoked.
    Revoked(Revoked),
    /// The baseline is changed.
    BaselineAccepted(Box<AcceptedBaseline>),
    /// The status.
    Status(Box<Status>),
    /// The firing alerts and their receivers.
    Alerts(Box<AlertsStatus>),
    /// The guard is not held any more.
    Released(Released),
    /// The block that was kept.
    Block(Box<InfoBlockResponse>),
    /// The blocks of all namespaces that the agent has seen enabled.
    InfoBlocks(Vec<ObservedBlock>),
}

/// The mode, after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModeResponse {
    /// The mode now.
    pub mode: Mode,
    /// The mode before.
    pub previous_mode: Mode,
    /// Why an oversize creation would not be refused now; null if it would.
    pub ineffective_reason: Option<String>,
}

/// An exemption was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Allowed {
    /// Its number, for `allow --revoke`.
    pub id: u64,
    /// What it is for.
    pub subject: ExemptionSubject,
    /// When it expires by the wall clock, in RFC 3339; null if only a creation ends it.
    pub until: Option<String>,
}

/// An exemption was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Revoked {
    /// Its number.
    pub id: u64,
}

/// A cost is the baseline from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AcceptedBaseline {
    /// In words, with the object concerned.
    pub detail: String,
    /// What it cost before: the baseline until now.
    pub before: Cost,
    /// What it costs now: the baseline from now on.
    pub after: Cost,
}

/// The pins that kept the guard in the kernel are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Released {
    /// The pins that were removed, as paths.
    pub removed: Vec<String>,
    /// Whether the guard still guards, because the agent that answers has it attached.
    pub still_guarding: bool,
}

/// The raw info block of a namespace, as it was before it was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InfoBlockResponse {
    /// The namespace's name when the block was seen.
    pub namespace: String,
    /// Its namespace uuid; null on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes, if known.
    pub size_bytes: Option<u64>,
    /// When the block was seen, in RFC 3339.
    pub seen: String,
    /// The commands that restore it from a file named FILE.
    pub restore_commands: Vec<String>,
    /// The 4096 bytes at 4 KiB into the namespace, in hex.
    #[serde(with = "bytes")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub block: Box<[u8; superblock::SIZE]>,
}

impl From<&crate::model::info_block::SavedInfoBlock> for InfoBlockResponse {
    fn from(saved: &crate::model::info_block::SavedInfoBlock) -> Self {
        let NamespaceId { namespace, namespace_uuid, start_address, size_bytes } = saved.namespace.clone();
        Self {
            restore_commands: restore_commands::commands_from_file(&namespace, "FILE", saved),
            namespace,
            namespace_uuid,
            start_address,
            size_bytes: Some(size_bytes),
            seen: saved.last_seen.to_string(),
            block: saved.bytes(),
        }
    }
}

/// The info block that the agent saw last on a namespace. All of its 4 KiB, but the zeros between the fields and the checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObservedBlock {
    /// Physical address of the namespace's first byte.
    pub start_address: u64,
    /// The bytes up to the last one before the checksum that is not zero, in hex.
    pub fields: String,
    /// The checksum, the block's last 8 bytes, in hex.
    pub checksum: String,
}

/// Of the checksum at the end of a block (`struct nd_pfn_sb` in drivers/nvdimm/pfn.h).
const CHECKSUM_BYTES: usize = 8;

impl ObservedBlock {
    /// The block of a namespace that starts at this address.
    #[must_use]
    pub fn new(start_address: u64, block: &[u8; superblock::SIZE]) -> Self {
        let (fields, checksum) = block.split_at(superblock::SIZE - CHECKSUM_BYTES);
        let used = fields.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let fields = fields.get(..used).unwrap_or_default();
        Self { start_address, fields: HEXLOWER.encode(fields), checksum: HEXLOWER.encode(checksum) }
    }

    /// The block's bytes; `None` if they are not those of a block.
    #[must_use]
    pub fn bytes(&self) -> Option<Box<[u8; superblock::SIZE]>> {
        let fields = HEXLOWER.decode(self.fields.as_bytes()).ok()?;
        let checksum = HEXLOWER.decode(self.checksum.as_bytes()).ok()?;
        let mut block = Box::new([0; superblock::SIZE]);
        let (before, after) = block.split_at_mut(superblock::SIZE - CHECKSUM_BYTES);
        before.get_mut(..fields.len())?.copy_from_slice(&fields);
        if checksum.len() != CHECKSUM_BYTES {
            return None;
        }
        after.copy_from_slice(&checksum);
        Some(block)
    }
}

/// Why the agent did not carry out the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct ErrorResponse {
    /// The exit code of the command: 1, 2 or 4.
    exit_code: u8,
    /// What was wrong, and the remedy.
    message: String,
}

impl ErrorResponse {
    /// Something failed: exit code 1.
    pub fn error(message: impl Into<String>) -> Self {
        Self { exit_code: Exit::Error as u8, message: message.into() }
    }

    /// The request is not valid: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit_code: Exit::Usage as u8, message: message.into() }
    }

    /// This host cannot do what was requested: exit code 4.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { exit_code: Exit::Unsupported as u8, message: message.into() }
    }

    /// The same as a command's error, which makes it end with the exit code.
    #[must_use]
    pub fn into_error(self) -> anyhow::Error {
        match self.exit_code {
            code if code == Exit::Usage as u8 => ExitContext::usage(self.message).into(),
            code if code == Exit::Unsupported as u8 => ExitContext::unsupported(self.message).into(),
            _ => anyhow::Error::msg(self.message),
        }
    }
}

impl From<anyhow::Error> for ErrorResponse {
    fn from(error: anyhow::Error) -> Self {
        Self { exit_code: Exit::from_error(&error) as u8, message: format!("{error:#}") }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reply(pub Result<Response, ErrorResponse>);

impl<E: Into<ErrorResponse>> From<Result<Response, E>> for Reply {
    fn from(said: Result<Response, E>) -> Self {
        Self(said.map_err(Into::into))
    }
}

#[derive(Serialize)]
struct WireReply<'a> {
    schema: u32,
    #[serde(flatten)]
    said: ReplyBody<&'a Response, &'a ErrorResponse>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReplyBody<A, R> {
    Answer(A),
    Refusal(R),
}

/// The parsed line: a newer agent may have more keys.
#[derive(Deserialize)]
struct ParsedReply {
    schema: u32,
    answer: Option<Response>,
    refusal: Option<ErrorResponse>,
    #[serde(flatten)]
    _more: BTreeMap<String, IgnoredAny>,
}

impl Reply {
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let write = |said: &Result<Response, ErrorResponse>| {
            let said = said.as_ref().map_or_else(ReplyBody::Refusal, ReplyBody::Answer);
            serde_json::to_vec(&WireReply { schema: SCHEMA, said })
        };
        // If the answer cannot be serialised, the error that replaces it can.
        let mut line = write(&self.0)
            .or_else(|error| write(&Err(ErrorResponse::error(format!("the answer cannot be written: {error}")))))
            .unwrap_or_default();
        line.push(b'\n');
        line
    }

    pub fn parse(line: &[u8]) -> Result<Response, ErrorResponse> {
        let strange = |why: String| ErrorResponse::error(format!("the agent's answer is not understood: {why}"));
        let read: ParsedReply = serde_json::from_slice(line).map_err(|error| strange(error.to_string()))?;
        if read.schema != SCHEMA {
            return Err(strange(format!("it has schema {}: use the pfnwatch that the agent runs", read.schema)));
        }
        match (read.answer, read.refusal) {
            (_, Some(refusal)) => Err(refusal),
            (Some(answer), None) => Ok(answer),
            (None, None) => Err(strange("it contains neither an answer nor a refusal".to_owned())),
        }
    }
}

/// The firing alerts, and what their receivers were sent. Points of time are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertsStatus {
    /// The firing alerts.
    pub firing: Vec<FiringAlertStatus>,
    /// Alerts that are left out because there are too many with their name.
    #[serde(default)]
    pub omitted: usize,
    /// The receivers.
    pub receivers: Vec<DeliveryStats>,
    /// The messages that wait, the oldest first, as far as they are not too many.
    pub waiting: Vec<PendingMessage>,
}

/// A firing alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FiringAlertStatus {
    /// The fingerprint by which receivers identify it.
    pub fingerprint: String,
    /// Since when.
    pub since: String,
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
}

/// A message that was not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PendingMessage {
    /// The receiver.
    pub receiver: String,
    /// The alert's name.
    pub alert: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether the event store has it. If not, the message is lost when the agent stops.
    pub saved: bool,
}
