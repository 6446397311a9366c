//! One process, as the fleet sees it.

use tokio::sync::watch;

use crate::logs::Log;
use crate::process::Wish;
use crate::program::Role;

/// One process, as the fleet sees it.
pub(super) struct Member {
    pub(super) role: Role,
    pub(super) queue: Option<String>,
    /// `None` while it waits to be started again.
    pub(super) pid: Option<u32>,
    pub(super) ready: bool,
    pub(super) admin: Option<String>,
    /// Deaths before it was ever ready.
    pub(super) start_deaths: u32,
    pub(super) log: Log,
    pub(super) wish: watch::Sender<Wish>,
}

impl Member {
    /// Wishes only ever get stronger.
    pub(super) fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|now| {
            let stronger = wish > *now;
            *now = wish.max(*now);
            stronger
        });
    }
}
