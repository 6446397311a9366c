//! Words for whoever sits in front of it.
//!
//! Everything that is said while a fleet runs goes to stderr, line by line, and past progress bars where there are any.
//! A terminal that went away is no reason to stop a fleet, so that writing never fails.

use std::io::Write;

use indicatif::MultiProgress;

/// Where words go. Clones share the progress bars.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    pub(crate) bars: MultiProgress,
}

impl Terminal {
    /// Says one thing; may be several lines.
    pub(crate) fn say(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
}
