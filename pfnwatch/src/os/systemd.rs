//! Notifications to the service manager: ready, reloading, stopping, watchdog, and a status line.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;

pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports a reload in progress; [`ready`] ends it.
pub fn reloading() {
    // systemd 253 and later ask for the time.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("what is left is read, then it ends")]);
}

/// How often to notify the watchdog: twice in its timeout. `None` if there is none.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    // No timer has a period of nothing.
    sd_notify::watchdog_enabled().map(|patience| (patience / 2).max(Duration::from_millis(1)))
}

pub fn notify_watchdog(status: &str) {
    notify(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// A manager that does not listen is no reason to stop observing.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be notified: {error}");
    }
}
