//! What became of all that the demo submitted, as a table: pictures, each with the webhook that it submitted, and mails.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use super::arrived::Arrived;
use super::client::Task;
use super::follow::Shown;
use super::mails::Mail;
use super::samples::{Expected, Sample};

/// How the name of a child begins.
const CHILD: &str = " └ ";

/// Where the tasks' ids stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    InRows,
    Below,
}

/// One task.
#[derive(Debug)]
pub(super) struct Row<'a> {
    name: String,
    task: &'a Task,
    /// What it was good for.
    result: String,
}

/// A picture's row, and those of its children.
pub(super) fn picture<'a>(shown: &'a Shown<'_, Sample>, arrived: &Arrived) -> Vec<Row<'a>> {
    let Shown { what: sample, task, children } = shown;
    let result = match (&task.failure, sample.expected) {
        // One sample is meant to fail, and nobody should think that it was an accident.
        (Some(failure), Expected::Failure(code)) if failure.code == code => "as intended".to_owned(),
        (Some(failure), _) => failure.code.clone(),
        (None, _) => format!("{} -> {}", size(Some(sample.bytes.len())), size(task.image().map(|image| image.len()))),
    };
    let mut rows = vec![Row { name: sample.name.to_owned(), task, result }];
    rows.extend(children.iter().map(|child| {
        let result = match (arrived.webhook(&child.id), &child.failure) {
            (Some(webhook), _) if webhook.is_verified() => "delivered, verified".to_owned(),
            (Some(webhook), _) => format!("signature {}", webhook.signature),
            (None, Some(failure)) => failure.code.clone(),
            (None, None) => "not delivered".to_owned(),
        };
        let queue = child.id.split('_').next().unwrap_or_default();
        Row { name: format!("{CHILD}{queue}"), task: child, result }
    }));
    rows
}

/// A mail's row.
pub(super) fn mail<'a>(shown: &'a Shown<'_, Mail>, arrived: &Arrived) -> Row<'a> {
    let Shown { what: mail, task, .. } = shown;
    let sent = task.text("message_id").and_then(|id| arrived.mail(id)).and_then(|mail| mail.path.file_name());
    let result = match (sent, &task.failure) {
        (Some(file), _) => file.to_string_lossy().into_owned(),
        (None, Some(failure)) => failure.code.clone(),
        (None, None) => "not in the sink".to_owned(),
    };
    Row { name: mail.name.to_owned(), task, result }
}

/// All rows, and why those that failed did. Rows that a terminal of so many columns would break go without the tasks'
/// ids, which then follow.
pub(super) fn summary(rows: &[Row<'_>], columns: Option<usize>) -> String {
    let wide = table(rows, Ids::InRows);
    let fits = columns.is_none_or(|columns| wide.lines().all(|line| line.chars().count() <= columns));
    let mut text = if fits { wide } else { table(rows, Ids::Below) };
    for Row { name, task, result } in rows {
        if let Some(failure) = &task.failure {
            // Of a child its id says more than its name, which all children have.
            let name = if name.starts_with(CHILD) { &task.id } else { name };
            let intended = if result == "as intended" { ", as intended" } else { "" };
            text += &format!("\n{}: {}{intended}: {}: {}\n", name, task.state, failure.code, failure.message);
        }
    }
    if !fits {
        text += "\nThe tasks:\n";
        text.extend(rows.iter().map(|Row { name, task, .. }| format!("  {name:14} {}\n", task.id)));
    }
    text
}

fn table(rows: &[Row<'_>], ids: Ids) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let row = |name: String, id: String, rest: [String; 5]| {
        let id = (ids == Ids::InRows).then_some(id);
        [name].into_iter().chain(id).chain(rest)
    };
    let head = ["state", "attempts", "wait", "run", "result"].map(str::to_owned);
    table.set_header(row("what".to_owned(), "task".to_owned(), head));
    for Row { name, task, result } in rows {
        let rest = [
            task.state.clone(),
            format!("{} of {}", task.attempt, task.attempts_max),
            between(task.submitted_at, task.started_at),
            between(task.started_at, task.ended_at),
            result.clone(),
        ];
        table.add_row(row(name.clone(), task.id.clone(), rest));
    }
    let texts = if ids == Ids::InRows { 3 } else { 2 };
    for column in table.column_iter_mut().skip(texts).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Blanks at the ends of lines are for a frame that is not there, and would count as width.
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
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

    use super::{mail, picture, summary};
    use crate::demo::arrived::Arrived;
    use crate::demo::client::Task;
    use crate::demo::follow::Shown;
    use crate::demo::mails::MAILS;
    use crate::demo::samples::{Sample, samples};

    const ID: &str = "thumbnail_01kdb3m6h8e6tr4y8m3q5x9abc";
    const CHILD: &str = "webhook_01kdb3m6h8e6tr4y8m3q5x9abc";

    fn task(id: &str, failure: &Value) -> Task {
        let state = if failure.is_null() { "completed" } else { "failed" };
        serde_json::from_value(json!({
            "id": id, "state": state, "attempt": 1, "attempts_max": 5, "failure": failure,
            "submitted_at": "2026-11-23T14:00:00.123Z", "started_at": "2026-11-23T14:00:01.123Z",
            "ended_at": "2026-11-23T14:00:01.999Z",
        }))
        .unwrap()
    }

    fn shown<'a>(samples: &'a [Sample], name: &str, failure: &Value) -> Shown<'a, Sample> {
        let what = samples.iter().find(|sample| sample.name == name).unwrap();
        Shown { what, task: task(ID, failure), children: vec![task(CHILD, &Value::Null)] }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_id_is_lost() {
        let (samples, arrived) = (samples(), Arrived::default());
        let shown = [shown(&samples, "large.png", &Value::Null), shown(&samples, "bubbles.webp", &Value::Null)];
        let sent = Shown {
            what: &MAILS[0],
            task: task("email_01kdb3m6h8e6tr4y8m3q5x9abc", &Value::Null),
            children: Vec::new(),
        };
        let mut rows: Vec<_> = shown.iter().flat_map(|shown| picture(shown, &arrived)).collect();
        rows.push(mail(&sent, &arrived));
        for columns in [80, 200] {
            let text = summary(&rows, Some(columns));
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            assert_eq!((text.matches(ID).count(), text.matches(CHILD).count()), (2, 2), "{text}");
        }
        let wide = summary(&rows, None);
        assert!(wide.lines().nth(1).unwrap().contains(ID) && wide.lines().nth(2).unwrap().contains(CHILD), "{wide}");
    }

    #[test]
    fn a_failure_says_why_and_whether_it_was_meant() {
        let (samples, arrived) = (samples(), Arrived::default());
        let broken = json!({"code": "broken_image", "message": "it ends in its middle"});
        let meant = shown(&samples, "broken.jpg", &broken);
        let text = summary(&picture(&meant, &arrived), None);
        assert!(text.contains("broken.jpg: failed, as intended: broken_image: it ends in its middle"), "{text}");
        let accident = shown(&samples, "julia.png", &broken);
        assert!(!summary(&picture(&accident, &arrived), None).contains("intended"));
    }
}
