//! The JSON documents of the commands, by name, for their schemas. In this room because the types are the commands'
//! own.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::alerts::TestResult;
use super::allow::Exemptions;
use super::events::restore_block::RestoredBlock;
use super::mode::ModeDocument;
use super::plan::report::Plan;
use super::policy::RejectedPolicy;
use super::policy::explanation::Explanation;
use super::scan::against::Comparison;
use super::scan::{self};
use super::{baseline, config, doctor, fleet, kernel, predict, superblock, why};
use crate::cli::output::json::Document;
use crate::model::control::{AcceptedBaseline, AlertsStatus, Allowed, ModeResponse, Released, Revoked};
use crate::model::status::Status;

pub(crate) struct PublishedSchema {
    pub(crate) name: &'static str,
    pub(crate) by: &'static str,
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

pub(crate) const REPORTS: [PublishedSchema; 26] = [
    report::<Document<'_, AlertsStatus>>("alerts-list", "pfnwatch alerts list --format json"),
    report::<Document<'_, TestResult<'_>>>("alerts-test", "pfnwatch alerts test NAME --format json"),
    report::<Document<'_, Allowed>>("allow", "pfnwatch allow --region R --once --reason TEXT --format json"),
    report::<Document<'_, Exemptions<'_>>>("allow-list", "pfnwatch allow --list --format json"),
    report::<Document<'_, Revoked>>("allow-revoke", "pfnwatch allow --revoke ID --format json"),
    report::<Document<'_, baseline::BaselineReport>>("baseline", "pfnwatch baseline --format json"),
    report::<Document<'_, AcceptedBaseline>>("baseline-accept", "pfnwatch baseline accept … --format json"),
    report::<Document<'_, config::ConfigDocument<'_>>>("config-show", "pfnwatch config show --format json"),
    report::<doctor::DoctorReport>("doctor", "pfnwatch doctor --format json"),
    report::<Document<'_, RestoredBlock<'_>>>(
        "events-restore-block",
        "pfnwatch events restore-block NAMESPACE --format json",
    ),
    report::<Document<'_, fleet::FleetReport>>("fleet", "pfnwatch fleet … --format json"),
    report::<Document<'_, fleet::readiness::ReadinessReport>>(
        "fleet-readiness",
        "pfnwatch fleet readiness … --format json",
    ),
    report::<Document<'_, Released>>("guard-release", "pfnwatch guard release --format json"),
    report::<Document<'_, kernel::KernelDocument<'_>>>("kernel", "pfnwatch kernel … --format json"),
    report::<Document<'_, ModeDocument<'_>>>("mode", "pfnwatch mode --format json"),
    report::<Document<'_, ModeResponse>>("mode-change", "pfnwatch mode audit|enforce --format json"),
    report::<Plan>("plan", "pfnwatch plan --format json"),
    report::<Explanation>("policy-check", "pfnwatch policy check --format json"),
    report::<RejectedPolicy<'_>>(
        "policy-check-refused",
        "pfnwatch policy check --format json, of a file that is not valid",
    ),
    report::<Document<'_, predict::report::PredictionDocument<'_>>>("predict", "pfnwatch predict … --format json"),
    report::<Document<'_, predict::device::DevicePrediction>>(
        "predict-device",
        "pfnwatch predict --device NAME --format json",
    ),
    report::<scan::ScanReport>("scan", "pfnwatch scan --format json"),
    report::<Comparison>("scan-against", "pfnwatch scan --against FILE --format json"),
    report::<Document<'_, Status>>("status", "pfnwatch status --format json"),
    report::<Document<'_, superblock::SuperblockDocument<'_>>>("superblock", "pfnwatch superblock FILE --format json"),
    report::<Document<'_, why::WhyReport>>("why", "pfnwatch why --format json"),
];

const fn report<T: JsonSchema>(name: &'static str, by: &'static str) -> PublishedSchema {
    PublishedSchema { name, by, schema: T::json_schema }
}
