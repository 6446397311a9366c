//! Why credentials are not written.

use std::io;
use std::path::PathBuf;

use super::Role;

/// Why credentials are not written. No message has anything of a seed in it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The fleet has no such role.
    #[error("there is no role {role} in this fleet; there is: {}", .known.join(", "))]
    UnknownRole {
        /// What was asked for.
        role: Role,
        /// Those there are.
        known: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or the folder.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A file that should have a key has none.
    #[error("{} is no {what}; put the right one there, or delete the file to have a new one made", .path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The role's last rotation is not finished.
    #[error(
        "{role} has two keys already: finish its last rotation first (--finish {role}), once every process of the role \
         has the new one"
    )]
    Unfinished {
        /// The role.
        role: Role,
    },
    /// A key that was made has no seed.
    #[error("no key can be made: {0}")]
    NoKey(String),
}

impl CredentialsError {
    /// For programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRole { .. } => "unknown_role",
            Self::File { .. } => "file",
            Self::Garbled { .. } => "garbled_key",
            Self::Unfinished { .. } => "rotation_unfinished",
            Self::NoKey(_) => "no_key",
        }
    }
}
