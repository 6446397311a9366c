//! The ledger that `workfleet submit --log FILE` keeps.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use workfleet_dispatcher::ledger::Line;
use workfleet_dispatcher::view::UnixMs;

use super::fault::Fault;
use super::task::Task;

/// A file that lines are appended to; several processes may share it.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let file = OpenOptions::new().append(true).read(true).create(true).open(path);
        let file = file.map_err(|error| Fault::Usage(format!("--log {}: {error}", path.display())))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Notes a task that was accepted. A line goes out in one write, so that those of several processes do not mix.
    pub(super) fn append(mut self, task: &Task, key: Option<String>) -> Result<(), Fault> {
        let fields = &task.fields;
        let line = Line {
            id: fields.id.clone(),
            queue: fields.id.split('_').next().unwrap_or_default().to_owned(),
            submitted_at: fields.submitted_at.map(|at| UnixMs(at.as_millisecond())),
            not_before: fields.not_before.map(|at| UnixMs(at.as_millisecond())),
            key,
        };
        let mut text = serde_json::to_vec(&line).expect("texts and numbers always serialize");
        text.push(b'\n');
        // Whoever died over the last line is not to take this one along.
        if self.ends_torn() {
            text.insert(0, b'\n');
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.flush());
        written.map_err(|error| {
            let (id, path) = (&fields.id, self.path.display());
            Fault::Unlogged(format!(
                "the task {id} was accepted and goes on, so do not submit it again; but its line could not be written to \
                 {path}: {error}"
            ))
        })
    }

    fn ends_torn(&mut self) -> bool {
        let mut last = [b'\n'];
        let read = self.file.seek(SeekFrom::End(-1)).and_then(|_| self.file.read_exact(&mut last));
        read.is_ok() && last != [b'\n']
    }
}
