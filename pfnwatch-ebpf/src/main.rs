//! The eBPF programs of pfnwatch.
#![no_std]
#![no_main]
