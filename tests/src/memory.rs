//! How much memory a process had at its worst.

use std::fs;

/// Peak resident memory of a process since [`forget_peak`], in bytes.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn peak_bytes(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Resident memory of a process now, in bytes.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Makes what the process has now its peak.
///
/// # Panics
/// When the process is gone.
pub fn forget_peak(pid: u32) {
    // 5 resets the high-water mark and nothing else; see proc(5).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of one's own can be asked to forget");
}

fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel counts");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1_024
}
