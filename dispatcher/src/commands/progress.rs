//! The line that moves on a terminal while a task runs.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::task::Task;

const TICK_MS: u64 = 100;
const BAR: &str = "{spinner} [{bar:24}] {pos:>3} %  {msg}  {elapsed}";
const SPINNER: &str = "{spinner} {msg}  {elapsed}";

/// Draws on the standard error, and only where that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins with a word.
    pub(crate) fn start(message: &str) -> Self {
        let bar = ProgressBar::new(100).with_style(style(SPINNER)).with_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(TICK_MS));
        Self { bar }
    }

    /// Shows where the task stands.
    pub(crate) fn show(&self, task: &Task) {
        let fields = &task.fields;
        let attempt = match fields.attempt {
            0 | 1 => String::new(),
            n => format!(", attempt {n} of {}", fields.attempts_max),
        };
        match &fields.progress {
            Some(progress) => {
                self.bar.set_style(style(BAR));
                self.bar.set_position(progress.percent.into());
                self.bar.set_message(format!("{}{attempt}  {}", fields.state, progress.message));
            }
            None => {
                self.bar.set_style(style(SPINNER));
                self.bar.set_message(format!("{}{attempt}", fields.state));
            }
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("both templates are tested")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_are_well_formed() {
        super::style(super::BAR);
        super::style(super::SPINNER);
    }
}
