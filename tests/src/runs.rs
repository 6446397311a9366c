//! What the probe worker wrote down while it ran: the only witness of an execution that survives a SIGKILL.

use std::path::Path;

/// One execution of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The task.
    pub task: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// The process that ran it.
    pub pid: u32,
    /// Whether the handler came to its end.
    pub ended: bool,
    /// When the handler was told that its task is cancelled, milliseconds since the Unix epoch.
    pub told_ms: Option<u64>,
}

impl Run {
    fn is_of(&self, other: &Self) -> bool {
        (&self.task, self.attempt, self.pid) == (&other.task, other.attempt, other.pid)
    }
}

/// Reads `<task> <attempt> <pid> start|end|told-<unix ms>` lines.
///
/// # Panics
/// When a line is anything else.
#[must_use]
pub fn read(file: &Path) -> Vec<Run> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [task, attempt, pid, what] = words[..] else { panic!("not a line of a probe: {line}") };
        let run = Run {
            task: task.to_owned(),
            attempt: attempt.parse().expect("an attempt is a number"),
            pid: pid.parse().expect("a pid is a number"),
            ended: false,
            told_ms: None,
        };
        // Backwards: an attempt whose delivery was repeated has several starts, and the last one ends.
        let begun = runs.iter_mut().rev().find(|begun| begun.is_of(&run) && !begun.ended);
        match (what, begun) {
            ("start", _) => runs.push(run),
            ("end", Some(begun)) => begun.ended = true,
            ("end", None) => {}
            (what, begun) => {
                let told = what.strip_prefix("told-").and_then(|ms| ms.parse().ok());
                let told = told.unwrap_or_else(|| panic!("not a word of a probe: {what}"));
                begun.into_iter().for_each(|begun| begun.told_ms = Some(told));
            }
        }
    }
    runs
}

/// Executions in a process that have begun and not ended.
#[must_use]
pub fn unfinished(runs: &[Run], pid: u32) -> usize {
    runs.iter().filter(|run| run.pid == pid && !run.ended).count()
}
