//! The signals that the agent acts on: to end (SIGTERM, SIGINT), and to read the configuration again (SIGHUP).

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    End(&'static str),
    Reload,
}

/// Signals to this process, or those of a caller that runs the agent within its own process.
pub struct Signals(Source);

enum Source {
    Process { terminate: unix::Signal, interrupt: unix::Signal, hangup: unix::Signal },
    Caller(UnboundedReceiver<Signal>),
}

impl Signals {
    /// From now on these signals do not end the process by themselves. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// They cannot be listened to.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self(Source::Process {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        }))
    }

    #[must_use]
    pub fn of_caller() -> (UnboundedSender<Signal>, Self) {
        let (sender, receiver) = unbounded_channel();
        (sender, Self(Source::Caller(receiver)))
    }

    /// The next signal. It can be cancelled at any time.
    pub async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Source::Process { terminate, interrupt, hangup } => tokio::select! {
                _ = terminate.recv() => Signal::End("SIGTERM"),
                _ = interrupt.recv() => Signal::End("SIGINT"),
                _ = hangup.recv() => Signal::Reload,
            },
            Source::Caller(receiver) => receiver.recv().await.unwrap_or(Signal::End("the caller's end")),
        }
    }
}
