//! Everything that goes to the standard output.
//!
//! `println!` panics when the reader has gone; these functions return the error instead, and the command ends quietly.

use std::io::Write;

use comfy_table::{Table, presets};
use serde_json::Value;

use super::fault::Fault;

/// Longest text that a person is shown of one value, in characters; base64 is rarely worth reading.
const TEXT_SHOWN_MAX: usize = 60;
/// How much of a longer one is shown.
const TEXT_START_SHOWN: usize = 24;

/// One line.
pub(crate) fn line(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// A document, for programs and for `jq`.
pub(crate) fn json(value: &Value) -> Result<(), Fault> {
    line(&serde_json::to_string_pretty(value).expect("a Value always serializes"))
}

/// A document in one line, where several follow each other.
pub(crate) fn json_line(value: &Value) -> Result<(), Fault> {
    line(&value.to_string())
}

/// A table without lines, so that `awk` can read it too.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<(), Fault> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    table.add_rows(rows);
    trimmed(&table)
}

/// Names and values, one below the other.
pub(crate) fn pairs(rows: Vec<(&str, String)>) -> Result<(), Fault> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_rows(rows.into_iter().map(|(name, value)| [name.to_owned(), value]));
    trimmed(&table)
}

/// The same value with every long text in it cut.
pub(crate) fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(short(text)),
        Value::Array(items) => Value::from(items.iter().map(shortened).collect::<Vec<_>>()),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shortened(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn short(text: &str) -> String {
    let length = text.chars().count();
    if length <= TEXT_SHOWN_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(TEXT_START_SHOWN).collect();
    format!("{start}... ({length} characters)")
}

/// Left-most blanks and blanks at the ends of lines are for a frame that is not there.
fn trimmed(table: &Table) -> Result<(), Fault> {
    for row in table.lines() {
        let row = row.strip_prefix(' ').unwrap_or(&row);
        line(row.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shortened;
    use serde_json::json;

    #[test]
    fn long_text_is_cut_wherever_it_stands_and_says_how_long_it_was() {
        let long = "ö".repeat(500);
        let shown = shortened(&json!({"list": [long], "kept": "short", "n": 5}));
        assert_eq!(shown["list"][0], format!("{}... (500 characters)", "ö".repeat(24)));
        assert_eq!((&shown["kept"], &shown["n"]), (&json!("short"), &json!(5)));
    }
}
