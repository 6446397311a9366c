//! Who may do what on the broker: one NATS user for each role, each with allow lists of its own.
//!
//! [`write()`] makes a seed for each role of a fleet and the part of the servers' configuration that knows their public
//! keys. What a role may do is a pure function of the queues file ([`Permissions`]): who adds a queue, or a child to a
//! queue, writes the credentials again.
//!
//! Plain nkeys in the servers' configuration, not JWTs: an operator's and an account's key, a resolver and its updates
//! buy delegation, which one fleet with one file of queues does not need, and the lists could not be read in one place.
//! The workers of each queue are in an account of their own; what one account for all leaves open is told where the
//! accounts are written, in `credentials/conf.rs`.

mod conf;
mod error;
mod folder;
mod permissions;
mod report;
mod role;
mod rotation;

use std::path::Path;

use workfleet_proto::names::{Names, Prefix};

use crate::queues_file::QueuesFile;
use conf::{User, auth_conf};
use folder::Folder;

pub use conf::ACCOUNT;
pub use error::CredentialsError;
pub use permissions::Permissions;
pub use report::{Change, Report, ReportLine};
pub use role::{Role, RoleError};
pub use rotation::Rotate;

/// The file with the accounts, to be `include`d by the servers' configuration.
pub const AUTH_CONF: &str = "auth.conf";

/// Writes the credentials of a fleet into `dir`: `<role>.nk` with the seed of each role, for that role alone, and
/// [`AUTH_CONF`] for the servers. What is there is kept, so a repeat changes nothing.
///
/// A queue that is no longer in the file has no user in `auth.conf` any more. Its seed stays, and the report names it: a
/// file that was forgotten is no reason to make others' seeds anew, and one that was left out by mistake is none either.
///
/// # Errors
/// When a file cannot be read or written, what is there is no seed, or a rotation does not fit what is there. No user
/// that is in use is lost then.
pub fn write(
    dir: &Path,
    file: &QueuesFile,
    prefix: &Prefix,
    rotate: Option<&Rotate>,
) -> Result<Report, CredentialsError> {
    let roles = Role::all(file);
    if let Some(unknown) = rotate.map(Rotate::role).filter(|role| !roles.contains(role)) {
        let known = roles.iter().map(ToString::to_string).collect();
        return Err(CredentialsError::UnknownRole { role: unknown.clone(), known });
    }
    let folder = Folder::open(dir)?;
    let names = Names::new(prefix.clone());
    let mut report = Report::default();
    let mut users = Vec::with_capacity(roles.len());
    for role in roles {
        let begun = rotate.filter(|rotate| *rotate.role() == role);
        let (keys, change) = rotation::keys(&folder, &role, begun)?;
        report.lines.push(ReportLine::new(&role, folder.seed_path(&role), &keys, change));
        users.push(User { permissions: Permissions::of(&names, file, &role), role, keys });
    }
    report.auth_conf = folder.write_if_different(AUTH_CONF, &auth_conf(&users))?;
    report.left = folder.seeds_of_others(&users)?;
    Ok(report)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "credentials_rotation_tests.rs"]
mod rotation_tests;
