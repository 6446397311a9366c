//! One sample on its way: submitted, then followed by its events, for all to see.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Client, Task};
use super::samples::Sample;
use crate::error::LocalError;
use crate::terminal::Terminal;

/// Longest time for a sample; it takes well under a second.
const SAMPLE_MAX: Duration = Duration::from_secs(60);
/// Pause before a stream of events is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// A sample and what became of it.
pub(super) struct Shown {
    pub(super) sample: &'static Sample,
    pub(super) task: Task,
}

/// Returns when the sample's task has ended.
pub(super) async fn follow(client: &Client, sample: &'static Sample, terminal: &Terminal) -> Result<Shown, LocalError> {
    let deadline = Instant::now() + SAMPLE_MAX;
    let line = Line::new(sample.name, terminal);
    let task = client.submit(sample).await?;
    line.show(&task);
    let id = task.id.clone();
    let mut task = task;
    while !task.has_ended() {
        let events = client.events(&id, |seen| {
            line.show(&seen);
            task = seen;
        });
        if timeout_at(deadline, events).await.is_err() {
            return Err(LocalError::Refused(format!(
                "{}: {id} has not ended in {} s",
                sample.name,
                SAMPLE_MAX.as_secs()
            )));
        }
        if !task.has_ended() {
            sleep(REOPEN_AFTER).await;
        }
    }
    // What a client reads later is what counts.
    let task = client.get(&id).await?;
    line.end(&task);
    Ok(Shown { sample, task })
}

/// A progress bar on a terminal, a line for each change elsewhere.
struct Line {
    bar: ProgressBar,
    terminal: Terminal,
    name: &'static str,
}

impl Line {
    fn new(name: &'static str, terminal: &Terminal) -> Self {
        let style = ProgressStyle::with_template("  {prefix:14} {bar:30.cyan/blue} {msg}");
        let bar = ProgressBar::new(100).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let bar = terminal.bars.add(bar.with_prefix(name));
        Self { bar, terminal: terminal.clone(), name }
    }

    fn show(&self, task: &Task) {
        let (percent, step) = match &task.progress {
            Some(progress) if !task.has_ended() => (progress.percent, format!(" ({})", progress.message)),
            _ => (0, String::new()),
        };
        let text = format!("{}{step}", task.state);
        if self.bar.is_hidden() && text != self.bar.message() {
            self.terminal.say(&format!("  {:14} {text}", self.name));
        }
        self.bar.set_position(u64::from(if task.state == "completed" { 100 } else { percent }));
        self.bar.set_message(text);
    }

    fn end(&self, task: &Task) {
        self.show(task);
        self.bar.abandon();
    }
}
