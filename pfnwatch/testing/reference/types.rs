//! Schemas of what is written by hand: types that serialise themselves, and types of a crate that knows no JSON.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::model::event::Time;
use crate::model::policy::ExemptionSubject;
use crate::model::timestamp::Timestamp;

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

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
