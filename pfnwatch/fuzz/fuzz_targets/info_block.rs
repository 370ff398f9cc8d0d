//! Fuzzes the reader of info blocks.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::info_block::check);
