//! The folder of a fleet.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::LocalError;

/// What lies where. The lock is held as long as this lives, and the kernel lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) root: PathBuf,
    _lock: File,
}

impl Data {
    /// Opens the folder for one fleet alone, and sweeps what a killed one left.
    pub(crate) fn open(root: &Path) -> Result<Self, LocalError> {
        fs::create_dir_all(root).map_err(LocalError::file(root))?;
        let root = root.canonicalize().map_err(LocalError::file(root))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(LocalError::file(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LocalError::Locked(root)),
            Err(TryLockError::Error(source)) => return Err(LocalError::File { path, source }),
        }
        let data = Self { root, _lock: lock };
        let _ = fs::remove_file(data.report());
        let _ = fs::remove_file(data.socket());
        let _ = fs::remove_dir_all(data.run());
        for folder in [data.run(), data.logs()] {
            fs::create_dir_all(&folder).map_err(LocalError::file(folder))?;
        }
        Ok(data)
    }

    /// Where scripts find everything.
    pub(crate) fn report(&self) -> PathBuf {
        self.root.join("fleet.json")
    }

    /// Where `scale` reaches the supervisor.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.root)
    }

    /// Addresses of processes, for as long as they run.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// One file for each process.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The broker's streams.
    pub(crate) fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }
}

/// The socket in the folder `root`.
pub(crate) fn socket(root: &Path) -> PathBuf {
    root.join("control.sock")
}

#[cfg(test)]
mod tests {
    use super::Data;
    use crate::error::LocalError;

    #[test]
    fn a_folder_is_for_one_fleet() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        assert!(matches!(Data::open(folder.path()), Err(LocalError::Locked(_))));
        std::fs::write(data.report(), "{}").unwrap();
        drop(data);
        let again = Data::open(folder.path()).unwrap();
        assert!(!again.report().exists(), "what a killed fleet left is gone");
    }
}
