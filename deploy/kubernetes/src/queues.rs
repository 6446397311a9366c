//! The queues files, one for the base and one for production, each with the contracts beside it.
//!
//! They are made by code and not by a template, since the dispatcher's own reader has to see them before anything is
//! written: a mistake in a key of a queue is a mistake of `fleet.toml`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use workfleet_dispatcher::queues_file::QueuesFile;

use crate::fleet::{Fleet, Site, Worker};

/// Its name.
pub(crate) const FILE: &str = "queues.toml";

/// The file's text.
pub(crate) fn text(fleet: &Fleet, site: &Site) -> String {
    let mut text = "[defaults]\n".to_owned();
    line(&mut text, "replicas", &Value::Integer(i64::from(site.nats_servers)));
    lines(&mut text, &site.queue);
    for worker in &fleet.workers {
        let _ = write!(text, "\n[queue.{}]\n", worker.name);
        line(&mut text, "proto", &Value::String(contract(worker)));
        line(&mut text, "timeout", &Value::String(format!("{}s", worker.timeout_s)));
        line(&mut text, "lease", &Value::String(worker.lease.clone()));
        if !worker.children.is_empty() {
            let children = worker.children.iter().cloned().map(Value::String);
            line(&mut text, "children", &Value::Array(children.collect()));
        }
        lines(&mut text, &worker.queue);
    }
    text
}

/// Name of a worker's contract beside the file.
pub(crate) fn contract(worker: &Worker) -> String {
    format!("{}.proto", worker.name)
}

fn lines(text: &mut String, table: &Table) {
    for (key, value) in table {
        line(text, key, value);
    }
}

fn line(text: &mut String, key: &str, value: &Value) {
    let _ = writeln!(text, "{key} = {}", written(value));
}

/// A value as TOML has it. Strings of JSON are strings of TOML too.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Array(values) => format!("[{}]", values.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{key} = {}", written(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        // The dispatcher's reader refuses it, and says which key it is.
        Value::Datetime(_) => "{}".to_owned(),
    }
}

/// Lets the dispatcher read the file as `provision` will, and says how many bytes of a server's disk its streams may
/// take: what they reserve, and scheduled tasks, which reserve nothing and are admitted up to a size.
///
/// # Errors
/// The dispatcher's mistakes, one line each.
pub(crate) fn check(fleet: &Fleet, site: &Site) -> Result<u64, Vec<String>> {
    let broken = |error: std::io::Error| vec![format!("a temporary folder: {error}")];
    let folder = tempfile::tempdir().map_err(broken)?;
    let path = folder.path().join(FILE);
    std::fs::write(&path, text(fleet, site)).map_err(broken)?;
    for worker in &fleet.workers {
        std::fs::copy(&worker.proto, folder.path().join(contract(worker)))
            .map_err(|error| vec![format!("worker.{}.proto: {error}", worker.name)])?;
    }
    let shown = |mistake: &String| mistake.replace(&format!("{}/", folder.path().display()), "");
    let file = QueuesFile::read(&path).map_err(|error| error.mistakes.iter().map(shown).collect::<Vec<_>>())?;
    let taken = file.queues.iter().map(|queue| {
        let settings = &queue.settings;
        settings.tasks_bytes_max
            + settings.scheduled_bytes_max
            + settings.results_bytes_max
            + settings.dead_bytes_max
            + if settings.ledger { settings.accepted_bytes_max } else { 0 }
            + 2 * settings.blobs_bytes_max
    });
    Ok(u64::try_from(taken.sum::<i64>()).unwrap_or_default())
}

/// Where a worker's contract is copied to, for a site's folder.
pub(crate) fn contract_path(folder: &Path, worker: &Worker) -> PathBuf {
    folder.join(contract(worker))
}
