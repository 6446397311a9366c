//! Mails as files: `000001.eml` and so on, each whole when it appears.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::smtp::Envelope;

/// Most mails in a folder; a sink that nobody empties must not fill a disk.
const MAILS_MAX: u64 = 10_000;

/// A folder of mails.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    last: AtomicU64,
}

impl Store {
    /// Goes on after what is there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let number = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".eml")?.parse().ok()
        };
        let last = std::fs::read_dir(folder)?.filter_map(number).max().unwrap_or(0);
        Ok(Self { folder: folder.to_owned(), last: AtomicU64::new(last) })
    }

    /// Writes the mail, below what a last server adds: for whom it came, which a `Bcc` does not tell otherwise.
    pub(super) fn write(&self, envelope: &Envelope, mail: &[u8]) -> io::Result<PathBuf> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        if number > MAILS_MAX {
            return Err(io::Error::other(format!("{MAILS_MAX} mails are enough; empty the folder")));
        }
        let mut bytes = format!("Return-Path: <{}>\r\n", printable(&envelope.from));
        for to in &envelope.to {
            let _ = write!(bytes, "X-Envelope-To: <{}>\r\n", printable(to));
        }
        let path = self.folder.join(format!("{number:06}.eml"));
        let half = path.with_extension("half");
        std::fs::write(&half, [bytes.as_bytes(), mail].concat())?;
        std::fs::rename(half, &path)?;
        Ok(path)
    }
}

/// A client's address must not be able to add a line.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Store};

    #[test]
    fn mails_are_numbered_on_from_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let envelope = Envelope { from: "a@x".to_owned(), to: vec!["b@y".to_owned(), "c\r@z".to_owned()] };
        Store::open(folder.path()).unwrap().write(&envelope, b"Subject: one\r\n\r\n").unwrap();
        let second = Store::open(folder.path()).unwrap().write(&envelope, b"\r\ntwo\r\n").unwrap();
        assert!(second.ends_with("000002.eml"));
        let text = std::fs::read_to_string(second).unwrap();
        assert_eq!(text, "Return-Path: <a@x>\r\nX-Envelope-To: <b@y>\r\nX-Envelope-To: <c@z>\r\n\r\ntwo\r\n");
    }
}
