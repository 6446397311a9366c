//! A file that is read again when it changes, so that tokens and keys are rotated without a restart.
//!
//! The whole file is read every two seconds and compared. Notifications from the kernel would be quicker, and they
//! differ from file system to file system: a Secret in Kubernetes changes by a link to a folder that is replaced. A
//! change that cannot be used is logged once, and what was read before stays.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not text.
    #[error("it is not UTF-8")]
    NotText,
    /// It is larger than it may be.
    #[error("it has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// What is in it is wrong.
    #[error("{0}")]
    Wrong(String),
}

/// How a file is read.
pub(super) struct Format<T> {
    pub(super) what: &'static str,
    pub(super) bytes_max: usize,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> Format<T> {
    /// Reads and checks a file.
    pub(super) fn read(&self, path: &Path) -> Result<T, FileError> {
        let text = self.text(path)?;
        (self.parse)(&text).map_err(FileError::Wrong)
    }

    fn text(&self, path: &Path) -> Result<String, FileError> {
        let mut bytes = Vec::new();
        File::open(path)?.take(self.bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > self.bytes_max {
            return Err(FileError::TooLarge { bytes_max: self.bytes_max });
        }
        String::from_utf8(bytes).map_err(|_| FileError::NotText)
    }
}

/// What a file said when it was last good.
pub(super) struct Reloaded<T: 'static> {
    path: PathBuf,
    format: &'static Format<T>,
    good: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
    stale: AtomicBool,
}

/// What was last found, good or not, so that it is reported once.
#[derive(PartialEq, Eq)]
enum Seen {
    Nothing,
    Text(String),
    Error(String),
}

impl<T: Send + Sync> Reloaded<T> {
    /// Begins with what was read already.
    pub(super) fn new(path: PathBuf, format: &'static Format<T>, first: Arc<T>) -> Self {
        let (good, seen, stale) = (RwLock::new(first), Mutex::new(Seen::Nothing), AtomicBool::new(false));
        Self { path, format, good, seen, stale }
    }

    /// What is good now.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.good.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the file could not be used when it was last looked at, so that what is good now is from before.
    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Looks whether the file has changed. Blocks for as long as the file system does.
    pub(super) fn look(&self) {
        let found = match self.format.text(&self.path) {
            Ok(text) => Seen::Text(text),
            Err(error) => Seen::Error(error.to_string()),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return;
        }
        let first = *seen == Seen::Nothing;
        match &found {
            Seen::Text(text) => match (self.format.parse)(text) {
                Ok(read) => {
                    *self.good.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                    self.stale.store(false, Ordering::Relaxed);
                    if !first {
                        tracing::info!(path = %self.path.display(), "{} have changed and are used", self.format.what);
                    }
                }
                Err(error) => self.complain(&error),
            },
            Seen::Error(error) => self.complain(error),
            Seen::Nothing => {}
        }
        *seen = found;
    }

    fn complain(&self, error: &dyn Display) {
        self.stale.store(true, Ordering::Relaxed);
        let path = self.path.display();
        tracing::error!(%path, %error, "{} cannot be read anew: those from before are still used", self.format.what);
    }
}

#[cfg(test)]
mod tests {
    use super::{FileError, Format, Reloaded};
    use std::sync::Arc;

    static NUMBER: Format<u32> =
        Format { what: "numbers", bytes_max: 10, parse: |text| text.trim().parse().map_err(|_| "no number".into()) };

    #[test]
    fn a_change_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("number");
        std::fs::write(&path, "1").expect("a file");
        let number = Reloaded::new(path.clone(), &NUMBER, Arc::new(NUMBER.read(&path).expect("1")));
        assert_eq!(*number.get(), 1);
        for (text, wanted) in [("2", 2), ("two", 2), ("3", 3), ("99999999999", 3), ("4", 4)] {
            std::fs::write(&path, text).expect("a file");
            number.look();
            assert_eq!(*number.get(), wanted, "{text}");
            assert_eq!(number.is_stale(), text.trim().parse() != Ok(wanted), "{text}");
        }
        std::fs::remove_file(&path).expect("it was there");
        for _ in 0..2 {
            number.look();
            assert!(*number.get() == 4 && number.is_stale());
        }
        std::fs::write(&path, "5").expect("a file");
        number.look();
        assert!(*number.get() == 5 && !number.is_stale());
    }

    #[test]
    fn what_changed_before_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("number");
        let number = Reloaded::new(path.clone(), &NUMBER, Arc::new(1));
        std::fs::write(&path, "2").expect("a file");
        number.look();
        assert_eq!(*number.get(), 2);
    }

    #[test]
    fn no_file_is_read_beyond_its_limit() {
        let endless = NUMBER.read(std::path::Path::new("/dev/zero"));
        assert!(matches!(endless, Err(FileError::TooLarge { bytes_max: 10 })), "{endless:?}");
    }
}
