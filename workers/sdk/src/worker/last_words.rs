//! A worker takes no arguments: whoever gives one is answered, and the process ends before it has joined the fleet.

use std::ffi::OsString;
use std::io::Write as _;

/// What `--help` says. Which kind the worker is for is not known yet when it is asked.
const HELP: &str = "\
A Workfleet worker: it takes tasks of one kind until it is stopped. It takes no arguments and is configured by variables:

  WORKFLEET_NATS_URL       where NATS is [default: nats://127.0.0.1:4222]
  WORKFLEET_SLOTS          tasks that run at once, 1 to 4096 [default: 16]
  WORKFLEET_ADMIN_ADDR     where /livez, /readyz and /metrics listen [default: 127.0.0.1:0, a free port]
  WORKFLEET_DRAIN_TIMEOUT  how long attempts may still run after SIGTERM [default: 25s]
";
/// Its end, after the lines about variables of the worker's own.
const HELP_END: &str = "\ndocs/configuration.md lists all of them.\n";
/// What the program was built from: the build of images says it, and labels the image with the same.
/// None otherwise, or every commit would compile this crate and all workers again.
const REVISION: Option<&str> = option_env!("WORKFLEET_REVISION");
/// Exit code for wrong use, as that of `workfleet`.
const EXIT_WRONG_USE: i32 = 2;

/// Why a process ends before it has begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LastWords {
    /// It was asked for them.
    Answer(String),
    /// It was given an argument that it does not know.
    Mistake(String),
}

impl LastWords {
    /// The first argument decides; `None` without any.
    pub(super) fn to(arguments: impl IntoIterator<Item = OsString>, own_help: &str) -> Option<Self> {
        let first = arguments.into_iter().next()?;
        Some(match first.to_string_lossy().as_ref() {
            "--help" | "-h" => Self::Answer(format!("{HELP}{own_help}{HELP_END}")),
            "--version" | "-V" => Self::Answer(version(REVISION)),
            unknown => Self::Mistake(format!(
                "unknown argument {unknown:?}: a worker is configured by variables; --help names them\n"
            )),
        })
    }

    /// Where nobody reads the words any more, the exit code still tells.
    pub(super) fn say_and_exit(&self) -> ! {
        let code = match self {
            Self::Answer(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                0
            }
            Self::Mistake(text) => {
                let _ = std::io::stderr().write_all(text.as_bytes());
                EXIT_WRONG_USE
            }
        };
        std::process::exit(code)
    }
}

/// What `--version` says.
fn version(revision: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match revision.filter(|revision| !revision.is_empty()) {
        Some(revision) => format!("workfleet-sdk {version} (revision {revision})\n"),
        None => format!("workfleet-sdk {version}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{HELP, HELP_END, LastWords, REVISION, version};

    const OWN: &str = "  ACME_PIXELS_MAX  largest picture\n";

    fn to(arguments: &[&str]) -> Option<LastWords> {
        LastWords::to(arguments.iter().map(Into::into), OWN)
    }

    #[test]
    fn only_a_worker_without_arguments_joins_the_fleet() {
        assert_eq!(to(&[]), None);
        for help in ["--help", "-h"] {
            assert_eq!(to(&[help]), Some(LastWords::Answer(format!("{HELP}{OWN}{HELP_END}"))));
        }
        for asked in ["--version", "-V"] {
            assert_eq!(to(&[asked]), Some(LastWords::Answer(version(REVISION))));
        }
        for unknown in ["--slots=4", "thumbnail", ""] {
            assert!(matches!(to(&[unknown]), Some(LastWords::Mistake(text)) if text.contains(unknown)));
        }
    }

    #[test]
    fn the_version_names_the_revision_where_one_is_known() {
        assert!(version(Some("4f2a-dirty")).ends_with(" (revision 4f2a-dirty)\n"));
        for unknown in [None, Some("")] {
            assert!(!version(unknown).contains("revision"));
        }
    }
}
