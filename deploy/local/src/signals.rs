//! Ctrl-C and its relatives.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::LocalError;
use crate::fleet::{Command, Commands};
use crate::terminal::Terminal;

/// The signals that ask for an end.
pub(crate) struct Signals {
    kinds: [Signal; 3],
}

impl Signals {
    /// From here on they no longer end this process by themselves.
    pub(crate) fn listen() -> Result<Self, LocalError> {
        let listen = |kind| signal(kind).map_err(LocalError::Runtime);
        // A terminal that is closed is a wish to end, too.
        let kinds = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { kinds })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The first drains the fleet, the second kills it.
    pub(crate) async fn command(mut self, commands: Commands, terminal: Terminal) {
        self.next().await;
        terminal.say("draining; once more kills");
        let _ = commands.send(Command::Drain).await;
        self.next().await;
        let _ = commands.send(Command::Kill).await;
    }
}
