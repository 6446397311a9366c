//! The keys of a role, and how they change without a pause.
//!
//! A rotation has two steps, with the fleet's own roll-out in between. The first makes a new seed; the servers then know
//! both keys, so processes change over one by one. The second takes the old key out of `auth.conf`. Of a key that is on
//! its way out only the public half is kept: nobody needs its seed again. One step, and so one key at a time, would cut
//! off every process of the role until it has the new seed. For a stolen key that is right, and so [`Rotate::Replace`].

use nkeys::KeyPair;

use super::folder::Folder;
use super::{Change, CredentialsError, Role};

/// What is to become of a role's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotate {
    /// Make a new seed; the old key stays good.
    Begin(Role),
    /// Take the old key out.
    Finish(Role),
    /// Make a new seed, and no key before it is good any more: for one that was stolen.
    Replace(Role),
}

impl Rotate {
    /// Whose key it is.
    #[must_use]
    pub fn role(&self) -> &Role {
        match self {
            Self::Begin(role) | Self::Finish(role) | Self::Replace(role) => role,
        }
    }
}

/// Public keys of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    /// That of the seed in the folder.
    pub(super) current: String,
    /// The one before, as long as it is good too.
    pub(super) previous: Option<String>,
}

impl Keys {
    /// Each key with a note for who reads the configuration.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let previous = self.previous.as_deref().map(|key| (key, ", until its rotation is finished"));
        std::iter::once((self.current.as_str(), "")).chain(previous)
    }
}

/// The keys of a role as they are now, made where there are none, and changed as `rotate` says.
///
/// # Errors
/// When a file cannot be read or written, or has no key in it; when a rotation begins before the last one has finished.
pub(super) fn keys(folder: &Folder, role: &Role, rotate: Option<&Rotate>) -> Result<(Keys, Change), CredentialsError> {
    let Some(current) = folder.public_key(role)? else {
        folder.forget_previous(role)?;
        return Ok((Keys { current: make(folder, role)?, previous: None }, Change::Made));
    };
    // A rotation that broke off between its two files has written the old key and made no new one.
    let previous = folder.previous(role)?.filter(|previous| *previous != current);
    match rotate {
        None => Ok((Keys { current, previous }, Change::Kept)),
        Some(Rotate::Begin(_)) if previous.is_some() => Err(CredentialsError::Unfinished { role: role.clone() }),
        Some(Rotate::Begin(_)) => {
            // The old key first: between the two, nothing must be lost that a process still uses.
            folder.remember_previous(role, &current)?;
            Ok((Keys { current: make(folder, role)?, previous: Some(current) }, Change::Rotated))
        }
        Some(Rotate::Finish(_)) => {
            folder.forget_previous(role)?;
            let change = if previous.is_some() { Change::Finished } else { Change::Kept };
            Ok((Keys { current, previous: None }, change))
        }
        Some(Rotate::Replace(_)) => {
            let current = make(folder, role)?;
            folder.forget_previous(role)?;
            Ok((Keys { current, previous: None }, Change::Replaced))
        }
    }
}

fn make(folder: &Folder, role: &Role) -> Result<String, CredentialsError> {
    let pair = KeyPair::new_user();
    let seed = pair.seed().map_err(|error| CredentialsError::NoKey(error.to_string()))?;
    folder.write_seed(role, &seed)?;
    Ok(pair.public_key())
}
