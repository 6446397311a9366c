//! The secrets of an overlay, in its folder `credentials/`: made where they are missing, kept where they are there.
//!
//! Everything is made on this machine and written for its owner alone: keys for the broker and `auth.conf`
//! (`workfleet_dispatcher::credentials`), tokens for the API, secrets of workers, and, where the overlay's kustomization asks
//! for them, a private CA with a certificate for each server. Rejected: secrets made in the cluster by a Job, which would need
//! the right to write every Secret there; and one command for each, which is four chances to forget one.

mod folder;
mod overlays;
mod secrets;
mod tls;
mod tokens;
mod what;

use std::path::{Path, PathBuf};

use workfleet_dispatcher::credentials::{self as nats, CredentialsError};
use workfleet_dispatcher::queues_file::{QueuesFile, QueuesFileError};
use workfleet_proto::names::Prefix;

use crate::fleet::{Fleet, FleetError};
use crate::queues;
use folder::Folder;
use what::Step;

pub use overlays::for_new_workers;
pub use what::{Turn, What};

/// An empty manifest that the folder's kustomization names first: without it kustomize says, by its name, what to run.
const DONE_FILE: &str = "made-by-make-credentials.yaml";
const DONE: &str = "# All that this folder's kustomization names is made.\n";

/// Why not all was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// `fleet.toml` has mistakes.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The rendered queues file has.
    #[error(transparent)]
    Queues(#[from] QueuesFileError),
    /// The keys for the broker could not be made.
    #[error(transparent)]
    Nats(#[from] CredentialsError),
    /// There is no such overlay.
    #[error(
        "{}: no overlay with credentials; there are: {}. An overlay on top of one of them uses that one's credentials",
        .path.display(), .known.join(", ")
    )]
    NoOverlay {
        /// Where it would be.
        path: PathBuf,
        /// Those there are.
        known: Vec<String>,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error("{}: {reason}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is to be rotated is not in this overlay.
    #[error("{0}: not in this overlay")]
    NotHere(What),
    /// Its last rotation is not finished: with one more there would be two old ones, and nobody knows who uses which.
    #[error(
        "{0} has an old one that is good too: once everybody has the new one, finish its last rotation (--finish {0})"
    )]
    Unfinished(What),
    /// A certificate ends on its day, and not before.
    #[error("certificates have nothing to finish: --rotate tls is all")]
    NothingToFinish,
    /// One step is for one thing.
    #[error("--rotate {0} with --finish {1}: they can be said together for one and the same; do others one by one")]
    TwoThings(What, What),
    /// Files that only their owner can write.
    #[error("all is made but what only you have:{}", .0.iter().map(|path| format!("\n  {}", path.display())).collect::<String>())]
    Yours(Vec<PathBuf>),
}

/// One thing that was looked after, as a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// What was done: `made`, `kept`, and so on.
    pub change: &'static str,
    /// Where it is, or what has to be known of it.
    pub note: String,
}

/// Makes what an overlay has not got, and turns over what `turn` names.
///
/// # Errors
/// The first thing that cannot be made. What was made before stays, and a repeat goes on from there.
pub fn make(dir: &Path, overlay: &str, turn: Option<&Turn>) -> Result<Vec<Line>, MakeError> {
    if turn.is_some_and(|turn| turn.what == What::Tls && turn.step != Step::Begin) {
        return Err(MakeError::NothingToFinish);
    }
    let fleet = Fleet::read(dir)?;
    let root = dir.join("overlays").join(overlay);
    let asked = std::fs::read_to_string(root.join(overlays::KUSTOMIZATION))
        .map_err(|_| MakeError::NoOverlay { path: root.clone(), known: overlays::known(dir) })?;
    let has_tls = asked.contains(tls::CA_FILE);
    if !has_tls && turn.is_some_and(|turn| turn.what == What::Tls) {
        return Err(MakeError::NotHere(What::Tls));
    }
    let folder = Folder::new(root.join("credentials"));
    // An overlay of one's own has its own queues, or those of the base.
    let own = root.join("queues").join(queues::FILE);
    let file = if own.is_file() { own } else { dir.join("base/queues").join(queues::FILE) };
    let file = QueuesFile::read(&file)?;

    let rotate = turn.and_then(Turn::nats);
    let report = nats::write(&folder.path("nats"), &file, &Prefix::default(), rotate.as_ref())?;
    let mut lines = nats_lines(&report);
    lines.extend(tokens::make(&folder, turn)?);
    if has_tls {
        let again = turn.is_some_and(|turn| turn.what == What::Tls);
        lines.extend(tls::make(&folder, &fleet, again)?);
    }
    let (made, yours) = secrets::make(&folder, &fleet)?;
    lines.extend(made);
    if !yours.is_empty() {
        return Err(MakeError::Yours(yours));
    }
    folder.write(DONE_FILE, DONE)?;
    Ok(lines)
}

fn nats_lines(report: &nats::Report) -> Vec<Line> {
    let mut lines: Vec<Line> = report
        .lines
        .iter()
        .map(|line| {
            let second = line.previous_key.as_ref().map(|_| " (the old key is good too, until --finish)");
            Line {
                what: format!("nats {}", line.role),
                change: line.change.word(),
                note: format!("{}{}", line.public_key, second.unwrap_or_default()),
            }
        })
        .collect();
    lines.push(Line { what: "nats auth.conf".to_owned(), change: report.auth_conf.word(), note: String::new() });
    lines.extend(report.left.iter().map(|path| Line {
        what: "nats".to_owned(),
        change: "left over",
        note: format!("{}: of no queue any more", path.display()),
    }));
    lines
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
