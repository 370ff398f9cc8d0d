//! Fuzzes the reader of sysfs.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::inventory::check);
