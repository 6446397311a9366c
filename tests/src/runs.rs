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
    /// When it began, milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// When it was told to stop, if it was told, and wrote it down.
    pub told_at_ms: Option<i64>,
    /// Whether the handler came to its end.
    pub ended: bool,
}

/// Reads `<task> <attempt> <pid> start|told|end <milliseconds>` lines.
///
/// # Panics
/// When a line is anything else.
#[must_use]
pub fn read(file: &Path) -> Vec<Run> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [task, attempt, pid, what, at_ms] = words[..] else { panic!("not a line of a probe: {line}") };
        let at_ms = at_ms.parse().expect("a time is a number");
        let run = Run {
            task: task.to_owned(),
            attempt: attempt.parse().expect("an attempt is a number"),
            pid: pid.parse().expect("a pid is a number"),
            started_at_ms: at_ms,
            told_at_ms: None,
            ended: false,
        };
        // Backwards: an attempt whose delivery was repeated has several starts, and the last one ends.
        let open = |begun: &&mut Run| {
            (&begun.task, begun.attempt, begun.pid, begun.ended) == (&run.task, run.attempt, run.pid, false)
        };
        match what {
            "start" => runs.push(run),
            "end" => {
                if let Some(begun) = runs.iter_mut().rev().find(open) {
                    begun.ended = true;
                }
            }
            "told" => {
                if let Some(begun) = runs.iter_mut().rev().find(open) {
                    begun.told_at_ms = Some(at_ms);
                }
            }
            other => panic!("not a word of a probe: {other}"),
        }
    }
    runs
}

/// Executions in a process that have begun and not ended.
#[must_use]
pub fn unfinished(runs: &[Run], pid: u32) -> usize {
    runs.iter().filter(|run| run.pid == pid && !run.ended).count()
}
