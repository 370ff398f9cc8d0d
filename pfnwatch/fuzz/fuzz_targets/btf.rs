//! Fuzzes the reader of BTF.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::btf::check);
