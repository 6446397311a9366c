//! The accounts as a NATS server reads them.
//!
//! The workers of each queue are in an account of their own, which holds nothing, and reach what they need of the fleet's
//! account as imported services. Permissions alone would not do: they say what a client may publish, and not where it may
//! have the server answer. In one account whoever may ask for the next task of one queue could have the answer sent to
//! `$JS.API.STREAM.DELETE.` of another. Answers to an import stay in the account that asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Role;
use super::permissions::{Answers, Permissions};
use super::rotation::Keys;

/// The account of the fleet: all its streams are in there.
pub const ACCOUNT: &str = "WORKFLEET";

/// How long a request may take to be answered: longer than the longest direct call.
const ANSWER_SECONDS_MAX: u32 = 120;
/// How long the server keeps a way back for further answers to a request that has many, after the last one. A pull that
/// waits says every few seconds that it does.
const ANSWERS_PAUSE_SECONDS_MAX: u32 = 15;
/// An account that imports this is not given the server's own API beside the imported one: it would answer first, that
/// the account holds nothing. No user may ask for it.
const OWN_API: &str = "$JS.API.INFO";
/// Requests with many answers.
const MANY_ANSWERS: [&str; 2] = ["$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.DIRECT.GET."];

/// A role, with the public keys that are it.
#[derive(Debug, Clone)]
pub(super) struct User {
    /// The role.
    pub(super) role: Role,
    /// Its keys.
    pub(super) keys: Keys,
    /// What it may do; absent for what may do everything in an account with nothing of the fleet's.
    pub(super) permissions: Option<Permissions>,
}

impl User {
    /// What its account asks the fleet's for.
    fn asks(&self) -> impl Iterator<Item = &str> {
        let published = self.permissions.iter().flat_map(|permissions| &permissions.publish);
        published.map(String::as_str).chain([OWN_API])
    }

    /// What the fleet's account asks it for, and how many of its clients answer.
    fn serves(&self) -> impl Iterator<Item = (&str, Answered)> {
        let inbox = self.role.inbox_prefix();
        let subjects = self.permissions.iter().flat_map(|permissions| &permissions.subscribe);
        let subjects = subjects.map(|subject| match subject.split_once(' ') {
            Some((subject, _)) => (subject, Answered::Once),
            None => (subject.as_str(), Answered::Often),
        });
        subjects.filter(move |(subject, _)| !subject.starts_with(&inbox))
    }
}

/// How many answers a request has. The server lets through one alone, unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// By one of a queue group.
    Once,
    /// By all who listen, or in pieces.
    Often,
}

impl Answered {
    fn of_api(subject: &str) -> Self {
        if MANY_ANSWERS.iter().any(|prefix| subject.starts_with(prefix)) { Self::Often } else { Self::Once }
    }
}

/// The text of the file that the servers' configuration `include`s.
pub(super) fn auth_conf(users: &[User]) -> String {
    let is_worker = |user: &&User| matches!(user.role, Role::Worker(_));
    let workers: Vec<&User> = users.iter().filter(is_worker).collect();
    let (system, fleet): (Vec<&User>, Vec<&User>) =
        users.iter().filter(|user| !is_worker(user)).partition(|user| user.role == Role::Sys);
    let mut text = String::from(
        "# Who may do what on the broker. Written by `workfleet credentials`, which replaces it: change the queues file,\n\
         # not this. It has public keys alone. In the servers' configuration: include \"auth.conf\"\n\naccounts {\n",
    );
    let imports =
        workers.iter().flat_map(|user| user.serves().map(|(subject, _)| import(&user.role.to_string(), subject)));
    text.push_str(&account(
        ACCOUNT,
        &[
            "    jetstream: enabled\n".to_owned(),
            list("exports", exports(&workers)),
            list("imports", imports),
            list("users", fleet.into_iter().flat_map(logins)),
        ],
    ));
    for worker in workers {
        text.push_str(&account(
            &worker.role.to_string(),
            &[
                list(
                    "exports",
                    worker.serves().map(|(subject, answered)| export(subject, &[ACCOUNT.to_owned()], answered)),
                ),
                list("imports", worker.asks().map(|subject| import(ACCOUNT, subject))),
                list("users", logins(worker)),
            ],
        ));
    }
    text.push_str(&account("SYS", &[list("users", system.into_iter().flat_map(logins))]));
    text.push_str("}\nsystem_account: SYS\n");
    text
}

fn account(name: &str, parts: &[String]) -> String {
    format!("  \"{name}\" {{\n{}  }}\n", parts.concat())
}

/// One for each subject that any worker asks for.
fn exports(workers: &[&User]) -> Vec<String> {
    let mut accounts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for worker in workers {
        for subject in worker.asks() {
            accounts.entry(subject).or_default().push(worker.role.to_string());
        }
    }
    accounts.iter().map(|(subject, accounts)| export(subject, accounts, Answered::of_api(subject))).collect()
}

/// Quoted, here and below, so that `$JS` is no variable.
fn export(subject: &str, accounts: &[String], answered: Answered) -> String {
    let accounts: Vec<String> = accounts.iter().map(|account| format!("\"{account}\"")).collect();
    let answers = if answered == Answered::Often {
        format!(", response_type: stream, response_threshold: \"{ANSWERS_PAUSE_SECONDS_MAX}s\"")
    } else {
        String::new()
    };
    format!("      {{ service: \"{subject}\", accounts: [{}]{answers} }}\n", accounts.join(", "))
}

fn import(account: &str, subject: &str) -> String {
    format!("      {{ service: {{ account: \"{account}\", subject: \"{subject}\" }} }}\n")
}

fn logins(user: &User) -> Vec<String> {
    let permissions = user.permissions.as_ref().map(permissions_block).unwrap_or_default();
    let login =
        |(key, note)| format!("      # {}{note}\n      {{\n        nkey: {key}\n{permissions}      }}\n", user.role);
    user.keys.all().map(login).collect()
}

fn permissions_block(permissions: &Permissions) -> String {
    let mut text = String::from("        permissions: {\n");
    for (what, subjects) in [("publish", &permissions.publish), ("subscribe", &permissions.subscribe)] {
        let _ = writeln!(text, "          {what}: {{\n            allow: [");
        for subject in subjects {
            let _ = writeln!(text, "              \"{subject}\"");
        }
        text.push_str("            ]\n          }\n");
    }
    if permissions.answers == Answers::Allowed {
        let _ = writeln!(text, "          allow_responses: {{ max: 1, expires: \"{ANSWER_SECONDS_MAX}s\" }}");
    }
    text.push_str("        }\n");
    text
}

fn list(what: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().collect();
    if items.is_empty() { String::new() } else { format!("    {what}: [\n{items}    ]\n") }
}
