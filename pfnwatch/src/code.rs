//! Machine code and the flow of values through it. Pure.

mod flow;
pub mod max_struct_page;
mod value;
