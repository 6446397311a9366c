//! What became of the samples, as a table.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use super::follow::Shown;

/// One row for each sample.
pub(super) fn table(shown: &[Shown]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["sample", "task", "state", "attempts", "wait", "run", "before", "after"]);
    for Shown { sample, task } in shown {
        let state = match &task.failure {
            Some(failure) => format!("{}: {}", task.state, failure.code),
            None => task.state.clone(),
        };
        table.add_row([
            sample.name.to_owned(),
            task.id.clone(),
            state,
            format!("{} of {}", task.attempt, task.attempts_max),
            between(task.submitted_at, task.started_at),
            between(task.started_at, task.ended_at),
            size(Some(sample.bytes.len())),
            size(task.image().map(|image| image.len())),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
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
