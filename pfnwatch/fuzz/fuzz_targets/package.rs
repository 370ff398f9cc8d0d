//! Fuzzes the reader of .deb and .rpm.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::package::check);
