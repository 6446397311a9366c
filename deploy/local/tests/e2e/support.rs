//! Waiting for things to be so, and looking at processes.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const LOCAL: &str = env!("CARGO_BIN_EXE_workfleet-local");

/// Waits until `what` gives something.
#[track_caller]
pub(crate) fn until<T>(why: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "in {WAIT_MAX:?} it has not come to this: {why}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process runs; one that is dead and not yet waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat.rsplit_once(')').map(|(_, rest)| rest.trim_start()), Some(state) if state.starts_with(['Z', 'X'])))
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    // It may have gone by itself.
    let _ = kill_process(pid, signal);
}
