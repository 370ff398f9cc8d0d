//! Fuzzes the readers of what comes over the control socket.
#![cfg_attr(fuzzing, no_main)]

pfnwatch_fuzz::target!(pfnwatch_fuzz::control::check);
