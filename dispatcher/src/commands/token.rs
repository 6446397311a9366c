//! `workfleet token`: makes a token for the API.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use workfleet_dispatcher::auth::Action;
use workfleet_dispatcher::auth::grant::Queues;
use workfleet_dispatcher::auth::tokens::{MintedToken, TokenEntry, Tokens, mint};

use super::fault::Fault;
use super::print;

/// What is said of --out where there is such a file.
const NOT_OVERWRITTEN: &str = "there is such a file already; choose another name, it is not overwritten";

/// Make a token for callers of the dispatcher
///
/// The token is printed once, on the standard output, or written to the file of --out; the dispatcher's file of tokens
/// gets only its SHA-256. A dispatcher takes a changed file within seconds. To rotate a token, make a second one of the
/// same name, give it to the caller, and remove the first one's entry once it is no longer used.
#[derive(Debug, Args)]
#[command(after_help = "\
Actions:
  submit   submit, call, upload and delete blobs
  read     tasks, outputs, events, lists, queues, blobs; with --queue '*' also metrics
  scale    the number for autoscalers alone
  operate  for later: pause, resume, dead letters

Examples:
  workfleet token --name product --queue thumbnail --may submit --may read --tokens tokens.toml --out product.token
  workfleet token --name keda --queue '*' --may scale --tokens tokens.toml > keda.token")]
pub(crate) struct Token {
    /// Whose it is; shown in logs and traces
    #[arg(long)]
    name: String,
    /// A queue that it is for; may be given again. `*` is all queues
    #[arg(long = "queue", value_name = "QUEUE", required = true)]
    queues: Vec<String>,
    /// What it is for: submit, read, scale or operate; may be given again
    #[arg(long, value_name = "ACTION", required = true)]
    may: Vec<Action>,
    /// How long it is good, as in 90d; for ever without
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// The tokens file to add it to; it is made if there is none. Without, its entry is printed on the standard error
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Write the token to this new file instead of the standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Token {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), Fault> {
        let minted = mint();
        let entry = self.entry(&minted)?;
        // An entry without a token can do no harm; a token that nobody has written down is lost.
        if let Some(path) = &self.out {
            write_new(path, &minted.token).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => usage(path, &NOT_OVERWRITTEN),
                _ => usage(path, &error),
            })?;
        }
        let added = self.tokens.as_deref().map_or(Ok(()), |path| add(path, &entry));
        if added.is_err()
            && let Some(path) = &self.out
        {
            // It was made a moment ago, and opens nothing.
            let _ = fs::remove_file(path);
        }
        added?;
        self.tell(&minted, &entry)
    }

    fn entry(&self, minted: &MintedToken) -> Result<TokenEntry, Fault> {
        let queues = Queues::from_names(self.queues.iter().map(String::as_str));
        let queues = queues.map_err(|error| Fault::Usage(format!("--queue: {error}")))?;
        let expires = self.expires_in.map(|time| Timestamp::now().checked_add(time)).transpose();
        let expires = expires.map_err(|error| Fault::Usage(format!("--expires-in: {error}")))?;
        let may: BTreeSet<Action> = self.may.iter().copied().collect();
        let entry = TokenEntry { name: self.name.clone(), sha256: minted.sha256.clone(), queues, may, expires };
        // A name that no dispatcher would take is found here.
        Tokens::parse(&entry.to_string()).map_err(|error| Fault::Usage(error.to_string()))?;
        Ok(entry)
    }

    fn tell(&self, minted: &MintedToken, entry: &TokenEntry) -> Result<(), Fault> {
        let token = self.out.is_none().then_some(&minted.token);
        if self.json {
            let expires = entry.expires.map(|time| time.to_string());
            return print::json(&json!({
                "name": entry.name, "sha256": entry.sha256, "queues": entry.queues.names(), "may": self.may_names(),
                "expires": expires, "token": token, "out": self.out, "tokens": self.tokens,
            }));
        }
        if self.tokens.is_none() {
            write!(io::stderr(), "For the dispatcher's tokens file:\n\n{entry}\n")?;
        }
        match token {
            Some(token) => print::line(token),
            None => Ok(()),
        }
    }

    fn may_names(&self) -> Vec<&'static str> {
        self.may.iter().map(|action| action.name()).collect()
    }
}

/// Adds an entry to a file, whole or not at all: a dispatcher may read it at any moment.
fn add(path: &Path, entry: &TokenEntry) -> Result<(), Fault> {
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| usage(path, &error))?,
    };
    let before = without_nobody(&before);
    let after = match before.trim_end_matches('\n') {
        "" => entry.to_string(),
        before => format!("{before}\n\n{entry}"),
    };
    Tokens::parse(&after).map_err(|error| usage(path, &error))?;
    // Behind a link, if it is one: that stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    replace(folder, &path, &after).map_err(|error| usage(&path, &error))
}

/// What says that nobody has a token must not stand beside one.
fn without_nobody(text: &str) -> String {
    let says_nobody = |line: &str| line.split_whitespace().collect::<String>() == "token=[]";
    match Tokens::parse(text) {
        Ok(tokens) if tokens.is_empty() => text.split_inclusive('\n').filter(|line| !says_nobody(line)).collect(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// Readable by its owner alone, as a temporary file is.
fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Readable by its owner alone, and never over what is there.
fn write_new(path: &Path, token: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()
}

fn usage(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::Usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Action, Token, Tokens};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    fn token(name: &str, tokens: &Path, out: Option<PathBuf>) -> Token {
        Token {
            name: name.to_owned(),
            queues: vec!["mail".to_owned()],
            may: vec![Action::Submit],
            expires_in: None,
            tokens: Some(tokens.to_owned()),
            out,
            json: false,
        }
    }

    #[test]
    fn tokens_are_added_to_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let [tokens, first, second] = ["tokens.toml", "first", "second"].map(|name| folder.path().join(name));
        token("first", &tokens, Some(first.clone())).run().expect("a new file");
        let mut text = fs::read_to_string(&tokens).expect("a file");
        text.insert_str(0, "# Ours.\n");
        fs::write(&tokens, text).expect("a file");
        token("second", &tokens, Some(second.clone())).run().expect("one more");
        let text = fs::read_to_string(&tokens).expect("a file");
        assert!(text.starts_with("# Ours.\n"), "what was there stays: {text}");
        let read = Tokens::parse(&text).expect("a good file");
        assert_eq!(read.len(), 2);
        for path in [&tokens, &first, &second] {
            let mode = fs::metadata(path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let secret = fs::read_to_string(&second).expect("a token");
        assert!(!text.contains(&secret) && secret.starts_with("wf_"));
        assert!(matches!(
            read.find(&secret, jiff::Timestamp::now()),
            workfleet_dispatcher::auth::tokens::Found::Grant(grant) if grant.name == "second"
        ));
    }

    #[test]
    fn nothing_is_written_where_anything_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let [tokens, out] = ["tokens.toml", "out"].map(|name| folder.path().join(name));
        fs::write(&tokens, "broken").expect("a file");
        assert!(token("good", &tokens, Some(out.clone())).run().is_err());
        assert!(!out.exists());
        assert_eq!(fs::read_to_string(&tokens).expect("a file"), "broken");
        fs::remove_file(&tokens).expect("it was there");
        assert!(token("two words", &tokens, Some(out.clone())).run().is_err());
        fs::write(&out, "somebody's").expect("a file");
        let refused = token("good", &tokens, Some(out.clone())).run().expect_err("it is somebody's").to_string();
        assert!(refused.contains("choose another name"), "{refused}");
        assert!(!tokens.exists());
        assert_eq!(fs::read_to_string(&out).expect("a file"), "somebody's");
    }
}
