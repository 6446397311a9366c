//! Tokens of the API: one for people who look after the fleet, one for the product, one for the autoscaler.

use workfleet_dispatcher::auth::Action;
use workfleet_dispatcher::auth::grant::Queues;
use workfleet_dispatcher::auth::tokens::{TokenEntry, mint, sha256_hex};

use super::folder::Folder;
use super::what::{Step, Turn, What};
use super::{Line, MakeError};

/// What the dispatcher reads: hashes alone.
const FILE: &str = "tokens/tokens.toml";
/// How an entry of it begins.
const ENTRY: &str = "[[token]]";

/// Who has a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// May do everything.
    Admin,
    /// The product: submits, and reads.
    App,
    /// KEDA: reads the numbers of scaling.
    Scale,
}

impl Holder {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Admin, Self::App, Self::Scale];

    /// Its name: in logs, and that of its file, `tokens/<name>.token`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::App => "app",
            Self::Scale => "scale",
        }
    }

    fn may(self) -> &'static [Action] {
        match self {
            Self::Admin => &Action::ALL,
            Self::App => &[Action::Submit, Action::Read],
            Self::Scale => &[Action::Scale],
        }
    }
}

/// Makes those that are missing, and turns one over.
pub(super) fn make(folder: &Folder, turn: Option<&Turn>) -> Result<Vec<Line>, MakeError> {
    let before = folder.read(FILE)?.unwrap_or_default();
    let mut text = before.clone();
    let mut lines = Vec::new();
    for holder in Holder::ALL {
        let name = format!("tokens/{}.token", holder.name());
        let step = turn.and_then(|turn| turn.token(holder));
        let there = folder.read(&name)?;
        if step == Some(Step::Begin) && there.as_deref().is_some_and(|token| is_unfinished(&text, holder, token)) {
            return Err(MakeError::Unfinished(What::Token(holder)));
        }
        let new = there.is_none() || matches!(step, Some(Step::Begin | Step::Replace));
        let token = match there {
            Some(token) if !new => token,
            _ => {
                let token = mint().token;
                // Without a line's end: KEDA sends every byte of it.
                folder.write(&name, &token)?;
                token
            }
        };
        let hash = sha256_hex(token.trim());
        if matches!(step, Some(Step::Finish | Step::Replace)) {
            text = without_old(&text, holder, &hash);
        }
        if !text.contains(&hash) {
            text.push_str(&entry(holder, hash.clone()));
        }
        let change = match step {
            Some(Step::Finish) => "finished",
            Some(Step::Begin) => "rotated",
            Some(Step::Replace) => "replaced",
            None if new => "made",
            None => "kept",
        };
        let olds = if has_old(&text, holder, &hash) { " (an old one is good too, until --finish)" } else { "" };
        lines.push(Line {
            what: format!("token {}", holder.name()),
            change,
            note: format!("{}{olds}", folder.path(&name).display()),
        });
    }
    if text != before {
        folder.write(FILE, &text)?;
    }
    Ok(lines)
}

fn entry(holder: Holder, sha256: String) -> String {
    let may = holder.may().iter().copied().collect();
    format!("{}\n", TokenEntry { name: holder.name().to_owned(), sha256, queues: Queues::All, may, expires: None })
}

/// The file without the holder's other tokens. Entries of others, which users add, stay as they are, letter by letter.
fn without_old(text: &str, holder: Holder, hash: &str) -> String {
    let mut parts = text.split(ENTRY);
    let head = parts.next().unwrap_or_default().to_owned();
    parts.filter(|part| !is_old(part, holder, hash)).fold(head, |text, part| text + ENTRY + part)
}

/// Whether a rotation has made this token, and the one before it has not ended. A token that is in no entry is of a rotation
/// that broke off, which can begin again.
fn is_unfinished(text: &str, holder: Holder, token: &str) -> bool {
    let hash = sha256_hex(token.trim());
    text.contains(&hash) && has_old(text, holder, &hash)
}

fn has_old(text: &str, holder: Holder, hash: &str) -> bool {
    text.split(ENTRY).any(|entry| is_old(entry, holder, hash))
}

fn is_old(entry: &str, holder: Holder, hash: &str) -> bool {
    entry.lines().any(|line| line == format!("name = {:?}", holder.name())) && !entry.contains(hash)
}
