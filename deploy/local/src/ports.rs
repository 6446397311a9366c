//! Ports: the usual one if it is free, else the next that is and that is nobody else's usual one. Otherwise one port that
//! is taken would move everybody after it.
//!
//! Two fleets that start at the same moment would both find a port free and both take it, and the second's workers would
//! then talk to the first's broker. So a port that was chosen is also locked, by a file in the temporary folder that all
//! fleets know; the lock ends with the supervisor, however it ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::LocalError;
use crate::terminal::Terminal;

/// How many ports are tried, from the usual one on.
const PORTS_TRIED_MAX: u16 = 1000;

/// The ports of one fleet, kept until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// The usual ports of everybody: whoever has to move does not move there.
    usual: &'static [u16],
    locks: Vec<File>,
}

impl Ports {
    /// None taken yet, for programs whose usual ports these are.
    pub(crate) fn for_usual(usual: &'static [u16]) -> Self {
        Self { usual, locks: Vec::new() }
    }

    /// A free port for `what`, `usual` if possible; says so if not.
    pub(crate) fn take(&mut self, what: &str, usual: u16, terminal: &Terminal) -> Result<SocketAddr, LocalError> {
        let last = usual.saturating_add(PORTS_TRIED_MAX);
        let mut ports = (usual..=last).filter(|port| *port == usual || !self.usual.contains(port));
        let found = ports.find_map(|port| Some((port, lock(port)?)));
        let (port, lock) = found.ok_or(LocalError::NoPort { from: usual })?;
        if port != usual {
            terminal.say(&format!("port {usual} is taken: {what} is on {port} instead"));
        }
        self.locks.extend(lock);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }
}

/// `None`: taken. A folder that cannot be written to costs the lock alone.
fn lock(port: u16) -> Option<Option<File>> {
    let lock = open(port).ok();
    if lock.as_ref().is_some_and(|lock| lock.try_lock().is_err()) {
        return None;
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|_| lock)
}

fn open(port: u16) -> std::io::Result<File> {
    let folder = std::env::temp_dir().join("workfleet-ports");
    std::fs::create_dir_all(&folder)?;
    File::options().create(true).truncate(false).write(true).open(folder.join(port.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::Ports;
    use crate::terminal::Terminal;

    #[test]
    fn a_port_that_listens_and_one_that_is_promised_are_taken() {
        let terminal = Terminal::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let (mut one, mut other) = (Ports::default(), Ports::default());
        let first = one.take("a", taken, &terminal).unwrap().port();
        let second = other.take("b", taken, &terminal).unwrap().port();
        assert!(taken < first && first < second, "{taken} {first} {second}");
        drop(one);
        assert_eq!(Ports::default().take("c", first, &terminal).unwrap().port(), first);
    }

    #[test]
    fn who_has_to_move_leaves_the_usual_ports_of_others_alone() {
        let terminal = Terminal::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let usual: &'static [u16] = Box::leak(Box::new([taken, taken + 1]));
        let moved = Ports::for_usual(usual).take("a", taken, &terminal).unwrap().port();
        assert!(moved > taken + 1, "{taken} {moved}");
    }
}
