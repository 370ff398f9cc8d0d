//! Machine code and the flow of values through it. Pure.

pub mod decode;
mod flow;
mod value;
