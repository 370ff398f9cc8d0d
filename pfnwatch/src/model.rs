//! What the rooms talk about: events, namespaces, verdicts, status, settings and rows as plain types. No I/O.

pub mod alert;
pub mod bounded;
pub mod capacity;
pub mod control;
pub mod event;
pub mod exit;
pub mod facts;
pub mod info_block;
pub mod inventory;
pub mod kernel;
pub mod memmap_return;
pub mod policy;
pub mod redact;
pub mod restore_commands;
pub mod scan_result;
pub mod shell_word;
pub mod status;
pub mod store;
pub mod thresholds;
pub mod timestamp;
pub mod units;
pub mod verdict;
pub mod view;
pub mod web_config;
