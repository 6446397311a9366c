//! What processes say: everything into a file each, warnings also to the terminal.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::terminal::Terminal;

/// Longest line; a longer one becomes several.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Size at which a log begins anew; the one before is kept as `<name>.log.1`.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Lines kept at hand, to show when a process does not start.
const LAST_LINES_MAX: usize = 8;

/// The log of one process, over all its lives. Clones are the same log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    name: String,
    terminal: Terminal,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    last: VecDeque<String>,
}

impl Log {
    /// A new log in `folder`.
    pub(crate) fn create(folder: &Path, name: &str, terminal: &Terminal) -> io::Result<Self> {
        let path = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
        let inner = Inner { path, file, bytes: 0, last: VecDeque::new() };
        Ok(Self { name: name.to_owned(), terminal: terminal.clone(), inner: Arc::new(Mutex::new(inner)) })
    }

    /// Copies all that `source` says, until it ends.
    pub(crate) async fn copy(self, source: impl AsyncRead + Unpin) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while let Ok(1..) = (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            self.line(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }

    /// The last lines, for when a process does not start.
    pub(crate) fn last_words(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, line: &str) {
        let line = line.trim_end_matches(['\n', '\r']);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(line);
        drop(inner);
        if is_warning(line) {
            self.terminal.say(&format!("{} | {line}", self.name));
        }
    }
}

impl Inner {
    /// A full disk must not stop a fleet: what cannot be written is lost.
    fn write(&mut self, line: &str) {
        if self.bytes > LOG_BYTES_MAX {
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(file) = File::create(&self.path) {
                (self.file, self.bytes) = (file, 0);
            }
        }
        let _ = writeln!(self.file, "{line}");
        self.bytes += line.len() as u64 + 1;
        if self.last.len() == LAST_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}

/// Whether a line is one that somebody should see now: the marks of our own programs (as text and as JSON), of the NATS
/// server, of Jaeger and of a panic.
fn is_warning(line: &str) -> bool {
    const MARKS: [&str; 11] = [
        " WARN ",
        " ERROR ",
        "\"level\":\"WARN\"",
        "\"level\":\"ERROR\"",
        "[WRN]",
        "[ERR]",
        "[FTL]",
        "\tWARN\t",
        "\twarn\t",
        "\terror\t",
        "panicked at",
    ];
    /// Jaeger built from Go modules has no pages, and says so at each start.
    const KNOWN: &str = "ui assets not embedded";
    MARKS.iter().any(|mark| line.contains(mark)) && !line.contains(KNOWN)
}

#[cfg(test)]
mod tests {
    use super::{Log, is_warning};
    use crate::terminal::Terminal;

    #[test]
    fn warnings_are_told_from_the_rest() {
        assert!(is_warning("2026-11-23T14:00:00Z  WARN workfleet_link: slow"));
        assert!(is_warning(r#"{"timestamp":"..","level":"ERROR","message":"x"}"#));
        assert!(is_warning("[123] 2026/11/23 14:00:00.1 [WRN] Healthcheck failed"));
        assert!(is_warning("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_warning("2026-11-23T14:00:00Z  INFO ready, with no WARNING at all"));
    }

    #[tokio::test]
    async fn everything_is_kept_and_the_last_words_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), "w-1", &Terminal::default()).unwrap();
        let said: String = (0..20).map(|n| format!("line {n}\n")).collect();
        log.clone().copy(said.as_bytes()).await;
        log.clone().copy(b"no end".as_slice()).await;
        assert_eq!(std::fs::read_to_string(folder.path().join("w-1.log")).unwrap(), format!("{said}no end\n"));
        assert!(log.last_words().ends_with("  line 19\n  no end"));
    }
}
