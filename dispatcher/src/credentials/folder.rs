//! The folder with the seeds: for its owner alone, and never half written.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use tempfile::NamedTempFile;

use super::conf::User;
use super::{Change, CredentialsError, Role};

/// What the folder's owner may do with it; nobody else may do anything.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Ends of file names: a seed, and the public key that it has taken the place of.
const SEED: &str = ".nk";
const PREVIOUS: &str = ".previous";

pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, or makes sure that it is its owner's alone.
    pub(super) fn open(path: &Path) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::File { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(failed)?;
        Ok(Self { path: path.to_owned() })
    }

    pub(super) fn seed_path(&self, role: &Role) -> PathBuf {
        self.path.join(format!("{role}{SEED}"))
    }

    fn previous_path(&self, role: &Role) -> PathBuf {
        self.path.join(format!("{role}{PREVIOUS}"))
    }

    /// The public key of a role's seed; `None`: it has none yet.
    pub(super) fn public_key(&self, role: &Role) -> Result<Option<String>, CredentialsError> {
        let path = self.seed_path(role);
        let Some(seed) = read(&path)? else { return Ok(None) };
        fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))
            .map_err(|source| CredentialsError::File { path: path.clone(), source })?;
        match KeyPair::from_seed(seed.trim()) {
            Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(Some(pair.public_key())),
            Ok(_) | Err(_) => Err(CredentialsError::Garbled { path, what: "nkey seed of a user (SU...)" }),
        }
    }

    /// The public key that was good before.
    pub(super) fn previous(&self, role: &Role) -> Result<Option<String>, CredentialsError> {
        let path = self.previous_path(role);
        let Some(key) = read(&path)? else { return Ok(None) };
        let key = key.trim();
        if KeyPair::from_public_key(key).is_err() {
            return Err(CredentialsError::Garbled { path, what: "public nkey of a user (U...)" });
        }
        Ok(Some(key.to_owned()))
    }

    pub(super) fn write_seed(&self, role: &Role, seed: &str) -> Result<(), CredentialsError> {
        self.write(&self.seed_path(role), &format!("{seed}\n"))
    }

    pub(super) fn remember_previous(&self, role: &Role, key: &str) -> Result<(), CredentialsError> {
        self.write(&self.previous_path(role), &format!("{key}\n"))
    }

    pub(super) fn forget_previous(&self, role: &Role) -> Result<(), CredentialsError> {
        let path = self.previous_path(role);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CredentialsError::File { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a file unless it is like this already.
    pub(super) fn write_if_different(&self, name: &str, text: &str) -> Result<Change, CredentialsError> {
        let path = self.path.join(name);
        let before = read(&path)?;
        if before.as_deref() == Some(text) {
            return Ok(Change::Kept);
        }
        self.write(&path, text)?;
        Ok(if before.is_some() { Change::Changed } else { Change::Made })
    }

    /// Seeds whose role is none of these.
    pub(super) fn seeds_of_others(&self, users: &[User]) -> Result<Vec<PathBuf>, CredentialsError> {
        let failed = |source| CredentialsError::File { path: self.path.clone(), source };
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SEED));
            let role = name.and_then(|name| name.parse::<Role>().ok());
            if role.is_some_and(|role| users.iter().all(|user| user.role != role)) {
                others.push(path);
            }
        }
        others.sort_unstable();
        Ok(others)
    }

    /// All of a file or nothing: a seed that was cut off would be a role that cannot connect, and whose key nobody has.
    fn write(&self, path: &Path, text: &str) -> Result<(), CredentialsError> {
        let failed = |source| CredentialsError::File { path: path.to_owned(), source };
        // Made for its owner alone, so there is no moment at which others can read it.
        let mut file = NamedTempFile::with_prefix_in(".new-", &self.path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        // The new name is on the disk when the folder is.
        fs::File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn read(path: &Path) -> Result<Option<String>, CredentialsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CredentialsError::File { path: path.to_owned(), source }),
    }
}
