//! A token as the file has it, to be written.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::auth::grant::{Action, Queues};

/// One `[[token]]` of a tokens file; its `Display` is the TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// Who has it; shown in logs and traces.
    pub name: String,
    /// Of the token's bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// For which queues.
    pub queues: Queues,
    /// For what.
    pub may: BTreeSet<Action>,
    /// Until when; for ever without.
    pub expires: Option<Timestamp>,
}

impl fmt::Display for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing here needs more than quotes: names, digits and times have neither quotes nor backslashes, which
        // reading the file back makes sure of.
        let quoted = |texts: Vec<&str>| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        let may = self.may.iter().map(|action| action.name()).collect();
        writeln!(f, "[[token]]")?;
        writeln!(f, "name = {:?}", self.name)?;
        writeln!(f, "sha256 = {:?}", self.sha256)?;
        writeln!(f, "queues = [{}]", quoted(self.queues.names()))?;
        writeln!(f, "may = [{}]", quoted(may))?;
        match self.expires {
            Some(expires) => writeln!(f, "expires = \"{expires}\""),
            None => Ok(()),
        }
    }
}
