//! Fuzzes the configuration of several files, and where each value is said to come from.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::config::check);
