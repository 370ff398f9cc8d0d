//! What numbers mean: verdicts and their causes, baselines and regressions, checks of predictions. Pure.

pub mod assess;
pub mod baseline;
pub mod device_changes;
pub mod event_assessment;
pub mod label_tracker;
pub mod memmap;
pub mod memmap_return;
pub mod prediction_check;
pub mod validation;
pub mod why;
