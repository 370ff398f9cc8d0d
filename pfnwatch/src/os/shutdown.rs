//! When to end: SIGTERM or SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals that end the agent.
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Begins to listen: from now on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them, and says which.
    pub async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
