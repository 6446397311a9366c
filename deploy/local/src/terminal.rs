//! Words for whoever sits in front of it.
//!
//! What is said while a fleet runs goes to stderr, line by line, and past progress bars where there are any; what was
//! asked for goes to stdout.
//! A terminal that went away is no reason to stop a fleet, so that writing never fails.

use std::io::Write;

use indicatif::MultiProgress;

/// Where words go. Clones share the progress bars.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    pub(crate) bars: MultiProgress,
}

impl Terminal {
    /// Puts a result to stdout, for people and for pipes.
    pub(crate) fn print(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stdout(), "{text}");
        });
    }

    /// How wide stdout is; `None` where that is no terminal.
    #[allow(clippy::unused_self, reason = "who asks for the width is about to print here")]
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        // A terminal that does not know its size says 0.
        Some(size.ws_col.into()).filter(|columns| *columns > 0)
    }

    /// Says one thing; may be several lines.
    pub(crate) fn say(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
}
