//! What the demo submits, on its way: followed by its events until it has ended, with its children, for all to see.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Client, Task};
use super::mails::Mail;
use super::samples::Sample;
use crate::error::LocalError;
use crate::terminal::Terminal;

/// Longest time for a task and its children; they take well under a second.
const TASK_MAX: Duration = Duration::from_secs(60);
/// Pause before a stream of events is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// A task and what became of it.
#[derive(Debug)]
pub(super) struct Shown<'a, T> {
    pub(super) what: &'a T,
    pub(super) task: Task,
    pub(super) children: Vec<Task>,
}

/// Returns when the picture's task has ended, and the webhook that it submitted.
pub(super) async fn picture<'a>(
    client: &Client,
    sample: &'a Sample,
    notify: &str,
    terminal: &Terminal,
) -> Result<Shown<'a, Sample>, LocalError> {
    let line = Line::new(sample.name, terminal);
    let (task, children) = follow(client, client.picture(sample, notify).await?, &line).await?;
    Ok(Shown { what: sample, task, children })
}

/// Returns when the mail's task has ended.
pub(super) async fn mail<'a>(
    client: &Client,
    mail: &'a Mail,
    terminal: &Terminal,
) -> Result<Shown<'a, Mail>, LocalError> {
    let line = Line::new(mail.name, terminal);
    let (task, children) = follow(client, client.mail(mail).await?, &line).await?;
    Ok(Shown { what: mail, task, children })
}

async fn follow(client: &Client, task: Task, line: &Line) -> Result<(Task, Vec<Task>), LocalError> {
    let deadline = Instant::now() + TASK_MAX;
    let task = until_ended(client, task, deadline, |task| line.show(task)).await?;
    line.end(&task);
    let mut children = Vec::new();
    for id in &task.children {
        let child = client.get(id).await?;
        let queue = id.split('_').next().unwrap_or_default().to_owned();
        children.push(until_ended(client, child, deadline, |child| line.show_child(&task, &queue, child)).await?);
    }
    Ok((task, children))
}

async fn until_ended(
    client: &Client,
    mut task: Task,
    deadline: Instant,
    show: impl Fn(&Task),
) -> Result<Task, LocalError> {
    show(&task);
    let id = task.id.clone();
    while !task.has_ended() {
        let events = client.events(&id, |seen| {
            show(&seen);
            task = seen;
        });
        if timeout_at(deadline, events).await.is_err() {
            return Err(LocalError::Refused(format!("{id} has not ended in {} s", TASK_MAX.as_secs())));
        }
        if !task.has_ended() {
            sleep(REOPEN_AFTER).await;
        }
    }
    // What a client reads later is what counts.
    let task = client.get(&id).await?;
    show(&task);
    Ok(task)
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
        self.bar.set_position(u64::from(if task.state == "completed" { 100 } else { percent }));
        self.say(format!("{}{step}", task.state));
    }

    fn show_child(&self, task: &Task, queue: &str, child: &Task) {
        self.say(format!("{}, {queue} {}", task.state, child.state));
    }

    fn say(&self, text: String) {
        if self.bar.is_hidden() && text != self.bar.message() {
            self.terminal.say(&format!("  {:14} {text}", self.name));
        }
        self.bar.set_message(text);
    }

    /// The bar stays as it is; the words after it may still change.
    fn end(&self, task: &Task) {
        self.show(task);
        self.bar.abandon();
    }
}
