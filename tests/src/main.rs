//! tests.

fn main() {}
