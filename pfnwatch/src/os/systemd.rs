//! What the service manager is told: that the agent is ready, reloads, stops, still turns, and how it stands.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing is told to anybody.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells that the agent is up, and how it stands.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that it takes its configuration anew; [`ready`] ends that.
pub fn reloading() {
    // systemd 253 and later ask for the time.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Tells that it is about to end.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("what is left is read, then it ends")]);
}

/// How often the watchdog is to be fed at least: twice in the time after which it bites. None where there is none.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    // No timer has a period of nothing.
    sd_notify::watchdog_enabled().map(|patience| (patience / 2).max(Duration::from_millis(1)))
}

/// Tells that the loop turns, and how the agent stands.
pub fn notify_watchdog(status: &str) {
    notify(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// A manager that does not listen is no reason to stop observing.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}
