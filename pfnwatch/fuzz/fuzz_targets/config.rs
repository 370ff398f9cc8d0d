//! Fuzzes configurations of several files, and the origin of each value.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::config::check);
