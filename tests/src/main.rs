//! PID 1 of a test guest: mounts what tests need, runs them, reports, powers off.

fn main() {
    guest::init::run();
}
