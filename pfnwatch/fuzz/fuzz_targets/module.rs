//! Fuzzes the reader of libnvdimm.ko.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::module::check);
