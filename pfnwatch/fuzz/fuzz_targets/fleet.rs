//! Fuzzes the reader of hosts' reports.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::fleet::check);
