//! Fuzzes the reader of vmlinuz.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::image::check);
