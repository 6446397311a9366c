//! What is printed, and kept: a line for each fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use workfleet_tests::workspace;

/// By the place that the fault has in the table.
static LINES: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());

const HEAD: &str = "| fault | servers | struck | accepted | completed | failed | cancelled | expired | lost | recorded \
                    twice | executions beyond the first | until full speed |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|\n";
/// Where the table of a full run goes.
const BEGIN: &str = "<!-- chaos: begin -->\n";
const END: &str = "<!-- chaos: end -->";

/// Keeps a line, and writes all that are known to `target/chaos/table.md`. After a full run that has all `rows`, the
/// table goes into the document too.
pub(crate) fn keep(place: usize, line: String, rows: Option<usize>) {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.insert(place, line);
    let mut table = HEAD.to_owned();
    for line in lines.values() {
        let _ = writeln!(table, "{line}");
    }
    let folder = workspace().join("target/chaos");
    std::fs::create_dir_all(&folder).expect("target takes folders");
    std::fs::write(folder.join("table.md"), &table).expect("target takes files");
    if rows == Some(lines.len()) {
        publish(&table);
    }
}

fn publish(table: &str) {
    let path = workspace().join("docs/guarantees.md");
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = text.split_once(BEGIN).expect("the document has the place where the table begins");
    let (_, after) = rest.split_once(END).expect("the document has the place where the table ends");
    std::fs::write(path, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the document can be written");
}
