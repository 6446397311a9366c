//! What became of the samples, as a table.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use super::client::Task;
use super::follow::Shown;
use super::samples::{Expected, Sample};

/// Where the tasks' ids stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    InRows,
    Below,
}

/// One row for each sample, and why those without a thumbnail have none. Rows that a terminal of so many columns would
/// break go without the tasks' ids, which then follow.
pub(super) fn summary(shown: &[Shown], columns: Option<usize>) -> String {
    let wide = table(shown, Ids::InRows);
    let fits = columns.is_none_or(|columns| wide.lines().all(|line| line.chars().count() <= columns));
    let mut text = if fits { wide } else { table(shown, Ids::Below) };
    for Shown { sample, task } in shown {
        if let Some(failure) = &task.failure {
            text += &format!("\n{}: {}: {}: {}\n", sample.name, state(sample, task), failure.code, failure.message);
        }
    }
    if !fits {
        text += "\nThe tasks:\n";
        text.extend(shown.iter().map(|Shown { sample, task }| format!("  {:14} {}\n", sample.name, task.id)));
    }
    text
}

fn table(shown: &[Shown], ids: Ids) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let row = |name: String, id: String, rest: [String; 6]| {
        let id = (ids == Ids::InRows).then_some(id);
        [name].into_iter().chain(id).chain(rest)
    };
    let head = ["state", "attempts", "wait", "run", "before", "after"].map(str::to_owned);
    table.set_header(row("sample".to_owned(), "task".to_owned(), head));
    for Shown { sample, task } in shown {
        let rest = [
            state(sample, task),
            format!("{} of {}", task.attempt, task.attempts_max),
            between(task.submitted_at, task.started_at),
            between(task.started_at, task.ended_at),
            size(Some(sample.bytes.len())),
            size(task.image().map(|image| image.len())),
        ];
        table.add_row(row(sample.name.to_owned(), task.id.clone(), rest));
    }
    let texts = if ids == Ids::InRows { 3 } else { 2 };
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Blanks at the ends of lines are for a frame that is not there, and would count as width.
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// One sample is meant to fail, and nobody should think that it was an accident.
fn state(sample: &Sample, task: &Task) -> String {
    match (&task.failure, sample.expected) {
        (Some(failure), Expected::Failure(code)) if failure.code == code => format!("{}, as intended", task.state),
        _ => task.state.clone(),
    }
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{} ms", to.as_millisecond() - from.as_millisecond()),
        _ => "-".to_owned(),
    }
}

fn size(bytes: Option<usize>) -> String {
    bytes.map_or("-".to_owned(), |bytes| format!("{}.{} KB", bytes / 1000, bytes % 1000 / 100))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::summary;
    use crate::demo::follow::Shown;
    use crate::demo::samples::SAMPLES;

    const ID: &str = "thumbnail_01kdb3m6h8e6tr4y8m3q5x9abc";

    fn shown(name: &str, failure: &Value) -> Shown {
        let sample = SAMPLES.iter().find(|sample| sample.name == name).unwrap();
        let state = if failure.is_null() { "completed" } else { "failed" };
        let task = json!({"id": ID, "state": state, "attempt": 1, "attempts_max": 5, "failure": failure});
        Shown { sample, task: serde_json::from_value(task).unwrap() }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_id_is_lost() {
        let shown = [shown("julia.png", &Value::Null), shown("badge.png", &Value::Null)];
        for columns in [80, 200] {
            let text = summary(&shown, Some(columns));
            assert!(text.lines().all(|line| line.len() <= columns), "{text}");
            assert_eq!(text.matches(ID).count(), 2, "{text}");
        }
        assert!(summary(&shown, None).lines().nth(1).unwrap().contains(ID));
    }

    #[test]
    fn a_failure_says_why_and_whether_it_was_meant() {
        let broken = json!({"code": "broken_image", "message": "it ends in its middle"});
        let text = summary(&[shown("broken.jpg", &broken)], None);
        assert!(text.contains("broken.jpg: failed, as intended: broken_image: it ends in its middle"), "{text}");
        assert!(!summary(&[shown("julia.png", &broken)], None).contains("intended"));
    }
}
