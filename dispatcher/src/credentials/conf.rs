//! The accounts as a NATS server reads them.

use std::fmt::Write as _;

use super::Role;
use super::permissions::{Answers, Permissions};
use super::rotation::Keys;

/// The account of the fleet: all its streams are in there.
pub const ACCOUNT: &str = "WORKFLEET";

/// How long a request may take to be answered: longer than the longest direct call.
const ANSWER_SECONDS_MAX: u32 = 120;

/// A role, with the public keys that are it.
#[derive(Debug, Clone)]
pub(super) struct User {
    /// The role.
    pub(super) role: Role,
    /// Its keys.
    pub(super) keys: Keys,
    /// What it may do in the account of the fleet; absent for what is not in it.
    pub(super) permissions: Option<Permissions>,
}

/// The text of the file that the servers' configuration `include`s.
pub(super) fn auth_conf(users: &[User]) -> String {
    let mut text = String::from(
        "# Who may do what on the broker. Written by `workfleet credentials`, which replaces it: change the queues file,\n\
         # not this. It has public keys alone. In the servers' configuration: include \"auth.conf\"\n\n",
    );
    let (system, fleet): (Vec<&User>, Vec<&User>) = users.iter().partition(|user| user.permissions.is_none());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "accounts {{\n  {ACCOUNT} {{\n    jetstream: enabled\n    users: [");
    for user in fleet {
        for (key, note) in user.keys.all() {
            let _ = writeln!(text, "      # {}{note}\n      {{", user.role);
            let _ = writeln!(text, "        nkey: {key}");
            if let Some(permissions) = &user.permissions {
                text.push_str(&permissions_block(permissions));
            }
            text.push_str("      }\n");
        }
    }
    text.push_str("    ]\n  }\n  SYS {\n    users: [\n");
    for user in system {
        for (key, note) in user.keys.all() {
            let _ = writeln!(text, "      # {}{note}\n      {{ nkey: {key} }}", user.role);
        }
    }
    text.push_str("    ]\n  }\n}\nsystem_account: SYS\n");
    text
}

fn permissions_block(permissions: &Permissions) -> String {
    let mut text = String::from("        permissions: {\n");
    text.push_str(&list("publish", &permissions.publish));
    text.push_str(&list("subscribe", &permissions.subscribe));
    if permissions.answers == Answers::Allowed {
        let _ = writeln!(text, "          allow_responses: {{ max: 1, expires: \"{ANSWER_SECONDS_MAX}s\" }}");
    }
    text.push_str("        }\n");
    text
}

/// Quoted, so that `$JS` is no variable.
fn list(what: &str, subjects: &[String]) -> String {
    let mut text = format!("          {what}: {{\n            allow: [\n");
    for subject in subjects {
        let _ = writeln!(text, "              \"{subject}\"");
    }
    text.push_str("            ]\n          }\n");
    text
}
