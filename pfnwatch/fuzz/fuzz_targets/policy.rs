//! Fuzzes the reader of the configuration, and what makes the guard's snapshot of it.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::policy::check);
