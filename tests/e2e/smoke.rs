//! Scratch.
use anyhow::{Result, bail};
use guest::{
    agent::Agent,
    creation::{self, Map, Mode, Wanted},
    regions,
};
use std::time::Duration;

#[test]
fn smoke() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let made = creation::create(&Wanted {
        region: regions.first.clone(),
        size_bytes: 64 << 20,
        mode: Mode::Fsdax,
        map: Map::Dev,
        align_bytes: 2 << 20,
    });
    std::thread::sleep(Duration::from_secs(2));
    let out = std::cell::RefCell::new(format!("made {:?}\n", made.is_ok()));
    let _ = agent.event("never", Duration::from_secs(2), |event| {
        if event["event"] == "ready" || event["event"] == "lost" || event["event"] == "undecoded" {
            *out.borrow_mut() += &format!("{event}\n");
        }
        None::<()>
    });
    bail!("{}", out.into_inner())
}
