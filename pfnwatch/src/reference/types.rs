//! Schemas of what is written by hand: types that serialise themselves, and types of a crate that knows no JSON.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{event::Time, policy::ExemptionSubject};

/// fsdax or devdax.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "it stands for a type that serialises as this one would")]
pub(crate) enum Personality {
    /// A block device with DAX.
    Fsdax,
    /// A character device with DAX.
    Devdax,
}

/// Where the memmap lives.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "it stands for a type that serialises as this one would")]
pub(crate) enum Map {
    /// On the persistent memory itself: it is reserved there.
    Dev,
    /// In DRAM.
    Mem,
}

/// From which excess on a namespace is oversize: both limits are to be passed.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it stands for what is serialised entry by entry")]
pub(crate) struct Limits {
    /// So many times the align.
    aligns: u64,
    /// So many millionths of the namespace.
    parts_per_million: u64,
    /// What the ideal is computed with: bytes of a struct page.
    reference_struct_page_bytes: u64,
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A point of time by the wall clock: RFC 3339 in UTC, with microseconds."
        })
    }
}

impl JsonSchema for ExemptionSubject {
    fn schema_name() -> Cow<'static, str> {
        "ExemptionSubject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let hex = "^0x[0-9a-f]{1,16}$";
        let one = |key: &str, value: Schema| json_schema!({ "type": "object", "properties": { key: value }, "required": [key] });
        json_schema!({
            "description": "What an exemption is for: one of these keys.",
            "oneOf": [
                one(Self::RegionCookie(0).key(), json_schema!({
                    "type": "string", "pattern": hex, "description": "All namespaces of the regions with this set_cookie."
                })),
                one(Self::RegionStart(0).key(), json_schema!({
                    "type": "string",
                    "pattern": hex,
                    "description": "All namespaces of the region whose first byte has this physical address."
                })),
                one(Self::Namespace(uuid::Uuid::nil()).key(), json_schema!({
                    "type": "string", "format": "uuid", "description": "The namespace with this namespace uuid."
                })),
            ]
        })
    }
}
