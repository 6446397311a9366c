//! The folder with the secrets: for its owner alone, and never half written.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::MakeError;

/// What the owner of a folder below may do with it; nobody else may do anything.
const FOLDER_MODE: u32 = 0o700;

pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What a file holds; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, MakeError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MakeError::File { path, source }),
        }
    }

    /// All of a file or nothing, and nobody but its owner can read it at any moment.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), MakeError> {
        let path = self.path(name);
        let failed = |source| MakeError::File { path: path.clone(), source };
        let parent = path.parent().unwrap_or(Path::new("."));
        if !parent.is_dir() {
            fs::create_dir_all(parent).map_err(failed)?;
            fs::set_permissions(parent, Permissions::from_mode(FOLDER_MODE)).map_err(failed)?;
        }
        // Such files are made with mode 0600.
        let mut file = NamedTempFile::with_prefix_in(".new-", parent).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
