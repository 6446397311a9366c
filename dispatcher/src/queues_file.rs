//! Queues as an operator writes them down: TOML, every mistake reported together.
//!
//! It is read into tables first and checked by hand: a typed reader stops at its first mistake, and a file with ten
//! queues is not to be mended in ten rounds.

mod set;

use std::path::{Path, PathBuf};

use toml::{Table, Value};
use workfleet_proto::id::QueueName;
use workfleet_proto::schema::KindSchema;
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

/// Queues as an operator writes them down.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuesFile {
    /// In the order of their names.
    pub queues: Vec<QueueEntry>,
}

/// One queue of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueEntry {
    /// Its name.
    pub name: QueueName,
    /// Its settings, with defaults where the file has none.
    pub settings: QueueSettings,
    /// Its kind; absent where a worker is to register it.
    pub kind: Option<KindSource>,
}

/// A kind as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindSource {
    /// Full name of the service.
    pub service: String,
    /// The descriptor set.
    pub descriptors: Vec<u8>,
}

/// Every mistake in a queues file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {} found:\n  {}", .path.display(), count(.mistakes.len()), .mistakes.join("\n  "))]
pub struct QueuesFileError {
    /// The file.
    pub path: PathBuf,
    /// One line each.
    pub mistakes: Vec<String>,
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "a mistake was".to_owned() } else { format!("{mistakes} mistakes were") }
}

impl QueuesFile {
    /// Reads and checks a file, and the kinds that it names.
    ///
    /// # Errors
    /// Every mistake in it, together.
    pub fn read(path: &Path) -> Result<Self, QueuesFileError> {
        let failed =
            |error: std::io::Error| QueuesFileError { path: path.to_owned(), mistakes: vec![error.to_string()] };
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?, path)
    }

    /// The same with the text that `path` has.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, QueuesFileError> {
        let failed = |mistake: String| QueuesFileError { path: path.to_owned(), mistakes: vec![mistake] };
        let table: Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut reader = Reader { folder, mistakes: Vec::new() };
        let queues = reader.file(&table);
        if reader.mistakes.is_empty() {
            Ok(Self { queues })
        } else {
            Err(QueuesFileError { path: path.to_owned(), mistakes: reader.mistakes })
        }
    }
}

struct Reader<'a> {
    /// Paths in the file start here.
    folder: &'a Path,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, file: &Table) -> Vec<QueueEntry> {
        for key in file.keys().filter(|key| !["defaults", "queue"].contains(&key.as_str())) {
            self.mistakes.push(format!("{key}: unknown; a file has [defaults] and [queue.<name>]"));
        }
        let nothing = Table::new();
        let defaults = self.table(file.get("defaults"), "defaults").unwrap_or(&nothing);
        let queues = self.table(file.get("queue"), "queue").unwrap_or(&nothing);
        if queues.is_empty() {
            self.mistakes.push("there is no [queue.<name>] in it".to_owned());
        }
        queues.iter().filter_map(|(name, queue)| self.queue(name, queue, defaults)).collect()
    }

    fn queue(&mut self, name: &str, queue: &Value, defaults: &Table) -> Option<QueueEntry> {
        let place = format!("queue.{name}");
        let name = name.parse::<QueueName>().map_err(|error| self.mistakes.push(format!("{place}: {error}"))).ok()?;
        let queue = self.table(Some(queue), &place)?;
        let mut settings = settings::defaults(&name);
        for (key, value) in defaults {
            self.setting(&mut settings, "defaults", key, value);
        }
        for (key, value) in queue.iter().filter(|(key, _)| !set::KIND_KEYS.contains(&key.as_str())) {
            self.setting(&mut settings, &place, key, value);
        }
        self.mistakes.extend(settings::mistakes(&settings).into_iter().map(|mistake| format!("{place}: {mistake}")));
        let kind = self.kind(&name, &place, queue);
        Some(QueueEntry { name, settings, kind })
    }

    fn setting(&mut self, settings: &mut QueueSettings, place: &str, key: &str, value: &Value) {
        if let Err(mistake) = set::set(settings, key, value) {
            let mistake = format!("{place}.{key}: {mistake}");
            // A mistake in the defaults is met once per queue.
            if !self.mistakes.contains(&mistake) {
                self.mistakes.push(mistake);
            }
        }
    }

    fn kind(&mut self, name: &QueueName, place: &str, queue: &Table) -> Option<KindSource> {
        let text = |key: &str| queue.get(key).map(|value| value.as_str().ok_or(format!("{place}.{key}: not a text")));
        let read = match (text("proto"), text("descriptors"), text("service")) {
            (None, None, None) => return None,
            (Some(proto), None, None) => proto.and_then(|path| self.kind_of_proto(name, place, path)),
            (None, Some(descriptors), Some(service)) => {
                descriptors.and_then(|path| Ok((path, service?))).and_then(|(path, service)| {
                    let path = self.folder.join(path);
                    let bytes =
                        std::fs::read(&path).map_err(|error| format!("{place}: {}: {error}", path.display()))?;
                    KindSchema::read(&bytes, service)
                        .map_err(|error| format!("{place}: {}: {error}", path.display()))?;
                    Ok(KindSource { service: service.to_owned(), descriptors: bytes })
                })
            }
            _ => Err(format!("{place}: a kind is `proto`, or `descriptors` with `service`")),
        };
        read.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    fn kind_of_proto(&self, name: &QueueName, place: &str, path: &str) -> Result<KindSource, String> {
        let path = self.folder.join(path);
        let kind = workfleet_codegen::read_kind(&path).map_err(|error| format!("{place}.proto: {error}"))?;
        if kind.kind != name.as_str() {
            let found = &kind.kind;
            return Err(format!("{place}.proto: the file describes the kind {found}, so its queue is [queue.{found}]"));
        }
        Ok(KindSource { descriptors: kind.descriptor_set(), service: kind.service })
    }

    fn table<'v>(&mut self, value: Option<&'v Value>, place: &str) -> Option<&'v Table> {
        let value = value?;
        if value.as_table().is_none() {
            self.mistakes.push(format!("{place}: not a table"));
        }
        value.as_table()
    }
}

#[cfg(test)]
#[path = "queues_file_tests.rs"]
mod tests;
