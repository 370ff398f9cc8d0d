//! What tests of alerts share.

use serde_json::{from_value, json};

use crate::model::status::Status;

pub(super) fn status() -> Status {
    let then = "2026-01-02T03:04:05Z";
    let status = json!({
        "agent": {
            "pid": 1, "version": "0.1.0", "started": then, "kernel": "6.1.0", "observing": true, "ready": true,
        },
        "mode": {
            "mode": "audit", "since": then, "source": "configuration", "configured_mode": "audit", "by": "the policy",
        },
        "guard": { "attached": true, "pinned": false, "armed": true, "judges": true },
        "enforcement_effective": true,
        "self_test": null,
        "max_struct_page": { "max_struct_page_size_bytes": 64, "evidence": [], "conflicting_evidence": [], "problems": [] },
        "policy": {
            "number": 1, "file": null, "since": then,
            "aligns": 1, "parts_per_million": 1000, "reference_struct_page_bytes": 64,
        },
        "exemptions": [],
        "counters": {},
        "on_agent_exit": "release",
        "pins": [],
        "degraded": [],
    });
    from_value(status).unwrap()
}
