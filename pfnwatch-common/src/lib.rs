//! What the eBPF programs and the agent share.
#![cfg_attr(not(test), no_std)]
