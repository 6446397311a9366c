//! Static tokens: who has which, from a file that holds no token.
//!
//! The file has the SHA-256 of each token. A token is 32 random bytes, so nobody can search for what has a given hash,
//! and a slow hash, as passwords need, would only make every request slow. A token that comes in is looked up by its
//! hash: how long that takes tells nothing of the tokens, since nobody can choose a hash.
//!
//! It is read into tables first and checked by hand, as the [queues file](crate::queues_file) is, so that all mistakes
//! are reported together.

mod entry;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::grant::{Action, Grant, Queues};

pub use entry::TokenEntry;

/// Largest file, in bytes.
pub const TOKENS_FILE_BYTES_MAX: usize = 1 << 20;
/// Most tokens of a file.
pub const TOKENS_MAX: usize = 10_000;
/// Longest name of a token, in characters.
pub const TOKEN_NAME_LENGTH_MAX: usize = 64;
/// Every token that we make begins like this, so that scanners for leaked secrets can know it.
pub const TOKEN_PREFIX: &str = "wf_";
const TOKEN_RANDOM_BYTES: usize = 32;
const KEYS: [&str; 5] = ["name", "sha256", "queues", "may", "expires"];

/// A new token and its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct MintedToken {
    /// What the caller sends; to be shown once and kept nowhere but there.
    pub token: String,
    /// What stands in the tokens file: 64 hexadecimal digits.
    pub sha256: String,
}

/// Without the token: a debug line must not be a leak.
impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// Makes a token: `wf_` and 32 random bytes in base32, lower case.
#[must_use]
pub fn mint() -> MintedToken {
    let random: [u8; TOKEN_RANDOM_BYTES] = rand::random();
    let token = format!("{TOKEN_PREFIX}{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase());
    let sha256 = sha256_hex(&token);
    MintedToken { token, sha256 }
}

/// The hash of a token as the file has it.
#[must_use]
pub fn sha256_hex(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens {
    by_hash: HashMap<[u8; 32], Token>,
}

#[derive(Debug)]
struct Token {
    grant: Arc<Grant>,
    expires: Option<Timestamp>,
}

/// What is known of a token that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is good.
    Grant(Arc<Grant>),
    /// It was good until its time was over.
    Expired(Arc<Grant>),
    /// It is none of the file's.
    Nothing,
}

/// Every mistake in a tokens file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.join("; "))]
pub struct TokensError {
    /// Each says where it is; none has a token or a hash.
    pub mistakes: Vec<String>,
}

impl Tokens {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Every mistake in it, together.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut reader = Reader::default();
        match text.parse::<Table>() {
            Ok(table) => reader.file(&table),
            // The parser's own words show the line at fault, which may be that of a hash.
            Err(error) => {
                let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
                reader.mistakes.push(format!("line {line}: {}", error.message()));
            }
        }
        if reader.mistakes.is_empty() {
            Ok(Self { by_hash: reader.by_hash })
        } else {
            Err(TokensError { mistakes: reader.mistakes })
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Looks a token up.
    #[must_use]
    pub fn find(&self, token: &str, now: Timestamp) -> Found {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        match self.by_hash.get(&hash) {
            None => Found::Nothing,
            Some(found) if found.expires.is_some_and(|expires| expires <= now) => {
                Found::Expired(Arc::clone(&found.grant))
            }
            Some(found) => Found::Grant(Arc::clone(&found.grant)),
        }
    }
}

#[derive(Default)]
struct Reader {
    by_hash: HashMap<[u8; 32], Token>,
    mistakes: Vec<String>,
}

impl Reader {
    fn file(&mut self, file: &Table) {
        for key in file.keys().filter(|key| key.as_str() != "token") {
            self.mistakes.push(format!("{key}: unknown; a file has [[token]]"));
        }
        // Also what a file looks like while somebody writes it in place. Whoever means nobody says so.
        let Some(tokens) = file.get("token").and_then(Value::as_array) else {
            self.mistakes.push("there is no [[token]] in it; `token = []` says that nobody has one".to_owned());
            return;
        };
        if tokens.len() > TOKENS_MAX {
            self.mistakes.push(format!("it has {} tokens; the limit is {TOKENS_MAX}", tokens.len()));
            return;
        }
        for (at, token) in tokens.iter().enumerate() {
            let place = format!("token {}", at + 1);
            match token.as_table() {
                Some(token) => self.token(&place, token),
                None => self.mistakes.push(format!("{place}: not a table")),
            }
        }
    }

    fn token(&mut self, place: &str, token: &Table) {
        let before = self.mistakes.len();
        for key in token.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            self.mistakes.push(format!("{place}: {key} is unknown; there is {}", KEYS.join(", ")));
        }
        let name = self.value(place, "name", token.get("name"), name);
        let place = name.as_ref().map_or(place.to_owned(), |name| format!("{place} ({name})"));
        let hash = self.value(&place, "sha256", token.get("sha256"), hash);
        let queues = self.value(&place, "queues", token.get("queues"), queues);
        let may = self.value(&place, "may", token.get("may"), may);
        let expires = token.get("expires").map(|value| self.value(&place, "expires", Some(value), time));
        let (Some(name), Some(hash), Some(queues), Some(may)) = (name, hash, queues, may) else { return };
        if self.mistakes.len() > before {
            return;
        }
        let grant = Arc::new(Grant { name, queues, may });
        if self.by_hash.insert(hash, Token { grant, expires: expires.flatten() }).is_some() {
            self.mistakes.push(format!("{place}: another token has the same sha256"));
        }
    }

    fn value<T>(
        &mut self,
        place: &str,
        key: &str,
        value: Option<&Value>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let read = value.ok_or_else(|| "is missing".to_owned()).and_then(read);
        read.map_err(|mistake| self.mistakes.push(format!("{place}: {key} {mistake}"))).ok()
    }
}

fn name(value: &Value) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = value.as_str().unwrap_or_default();
    if name.is_empty() || name.len() > TOKEN_NAME_LENGTH_MAX || !name.chars().all(fine) {
        return Err(format!("is 1 to {TOKEN_NAME_LENGTH_MAX} letters, digits, dots, dashes and underscores"));
    }
    if name.starts_with(TOKEN_PREFIX) && name.len() > TOKEN_PREFIX.len() + TOKEN_RANDOM_BYTES {
        return Err("looks like a token; it is shown in logs".to_owned());
    }
    Ok(name.to_owned())
}

fn hash(value: &Value) -> Result<[u8; 32], String> {
    let bytes = value.as_str().and_then(|text| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or("is 64 hexadecimal digits".to_owned())
}

fn texts(value: &Value) -> Result<Vec<&str>, String> {
    let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    texts.ok_or("is a list of texts".to_owned())
}

fn queues(value: &Value) -> Result<Queues, String> {
    Queues::from_names(texts(value)?).map_err(|error| error.to_string())
}

fn may(value: &Value) -> Result<BTreeSet<Action>, String> {
    let names = texts(value)?;
    if names.is_empty() {
        return Err("is empty: the token could do nothing".to_owned());
    }
    names.into_iter().map(|name| name.parse().map_err(|error| format!("has {name:?}: {error}"))).collect()
}

fn time(value: &Value) -> Result<Timestamp, String> {
    let text = match value {
        Value::Datetime(time) => time.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    text.parse().map_err(|_| "is a time like 2027-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
