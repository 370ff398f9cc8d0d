//! pfnwatch.

fn main() {}
