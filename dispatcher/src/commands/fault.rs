//! What ends a command early, and the exit code that a script sees.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::remote::Remote;

/// A problem document (RFC 9457), as far as a person needs it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) detail: String,
    /// What the request got wrong: an option or a field of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(default)]
    pub(crate) known: Vec<String>,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
    /// A task that may have been stored nevertheless.
    #[serde(default)]
    pub(crate) task_id: Option<String>,
    /// The command that shows more; `workfleet get` of the task where there is none.
    #[serde(skip)]
    pub(crate) look_at: Option<String>,
}

/// Whom a command speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A person.
    Words,
    /// A program: `--json`.
    Json,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The task, or the call, ended without an output. What it was has been printed already.
    #[error("{0}")]
    Ended(String),
    /// What was looked at is not as it should be. What it was has been printed already.
    #[error("{0}")]
    Found(String),
    /// An argument, a variable or a file is wrong.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The time that was given is over.
    #[error("{0}")]
    TimedOut(String),
    /// The dispatcher said no.
    #[error("{}", words(.0))]
    Refused(Box<Problem>),
    /// The broker, or a kind, stands against it.
    #[error("{0}")]
    Denied(String),
    /// The task was accepted, and does not stand in the file that was to name it.
    #[error("{0}")]
    Unlogged(String),
    /// Whoever read our output has gone, as `head` does: no reason to complain.
    #[error("the reader of the output has gone")]
    PipeClosed,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl Fault {
    /// What a script sees; `workfleet --help` says the same in words.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::PipeClosed => 0,
            Self::Ended(_) | Self::Found(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Denied(_) => 5,
            Self::Unlogged(_) => 6,
            Self::Refused(problem) => match problem.status {
                429 | 502 | 503 => 3,
                504 => 4,
                _ => 5,
            },
        })
    }

    /// Says it on the standard error, and gives the exit code.
    pub(crate) fn report(&self, form: Form) -> ExitCode {
        let text = match form {
            Form::Words => format!("workfleet: {self}"),
            Form::Json => self.document().to_string(),
        };
        if !matches!(self, Self::PipeClosed) {
            // Where even this cannot be written, the exit code still tells.
            let _ = writeln!(io::stderr(), "{text}");
        }
        self.exit_code()
    }

    /// A problem like those of the dispatcher, with codes for what it cannot know of.
    fn document(&self) -> Value {
        let code = match self {
            Self::Refused(problem) => return json!(problem),
            Self::Ended(_) => "ended_without_output",
            Self::Found(_) => "not_as_it_should_be",
            Self::Usage(_) => "wrong_use",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "not_ended",
            Self::Denied(_) => "denied",
            Self::Unlogged(_) => "accepted_and_not_logged",
            Self::PipeClosed | Self::Output(_) => "output",
        };
        json!({ "code": code, "detail": self.to_string() })
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Ended(_)
            | Self::Found(_)
            | Self::Usage(_)
            | Self::TimedOut(_)
            | Self::Denied(_)
            | Self::Unlogged(_)
            | Self::PipeClosed
            | Self::Output(_) => false,
        }
    }
}

/// Those of several tasks, of which none keeps the others.
pub(crate) struct Faults {
    form: Form,
    last: Option<Fault>,
}

impl Faults {
    pub(crate) fn new(remote: &Remote) -> Self {
        Self { form: if remote.json { Form::Json } else { Form::Words }, last: None }
    }

    /// Notes one, and says the one before it.
    ///
    /// # Errors
    /// That one, where the others would come to the same.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), Fault> {
        if !matches!(fault, Fault::Refused(_) | Fault::Usage(_) | Fault::Ended(_) | Fault::TimedOut(_)) {
            return Err(fault);
        }
        if let Some(earlier) = self.last.replace(fault) {
            earlier.report(self.form);
        }
        Ok(())
    }

    /// The last one, which is said by whoever ends the command.
    pub(crate) fn verdict(self) -> Result<(), Fault> {
        self.last.map_or(Ok(()), Err)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::PipeClosed } else { Self::Output(error) }
    }
}

fn words(problem: &Problem) -> String {
    let what = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    // The dispatcher's sentence may name it already.
    let field = problem.field.as_deref().filter(|field| !what.contains(field));
    let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
    let mut words = format!("{field}{what} [{}, HTTP {}]", problem.code, problem.status);
    // The dispatcher's sentence may name them already.
    if !problem.known.iter().all(|name| what.contains(name.as_str())) {
        words.push_str("\nknown: ");
        words.push_str(&problem.known.join(", "));
    }
    let look_at = problem.look_at.clone().or_else(|| Some(format!("workfleet get {}", problem.task_id.as_ref()?)));
    if let Some(command) = look_at {
        words.push_str(&format!("\nlook at it with: {command}"));
    }
    if let Some(ms) = problem.retry_after_ms {
        words.push_str(&format!("\ntry again in {ms} ms"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Fault, Problem};
    use std::io;
    use std::process::ExitCode;

    #[test]
    fn a_script_can_tell_later_from_never() {
        let refused = |status| Fault::Refused(Box::new(Problem { status, ..Problem::default() })).exit_code();
        assert_eq!(refused(404), ExitCode::from(5));
        assert_eq!(refused(429), ExitCode::from(3));
        assert_eq!(refused(504), ExitCode::from(4));
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let fault = Fault::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(fault.exit_code(), ExitCode::SUCCESS);
    }

    #[test]
    fn the_option_at_fault_is_named_once() {
        let words = |detail: &str| {
            let problem = Problem { detail: detail.into(), field: Some("delay".into()), ..Problem::default() };
            Fault::Refused(Box::new(problem)).to_string()
        };
        assert!(words("not a duration").starts_with("delay: not a duration"));
        assert!(words("no delay is as long").starts_with("no delay"));
    }

    #[test]
    fn alternatives_are_named_once() {
        let problem = Problem { detail: "no queue `a`".into(), known: vec!["b".into()], ..Problem::default() };
        assert!(Fault::Refused(Box::new(problem)).to_string().ends_with("known: b"));
        let problem =
            Problem { detail: "no queue `a`; there is b".into(), known: vec!["b".into()], ..Problem::default() };
        assert!(!Fault::Refused(Box::new(problem)).to_string().contains("known"));
    }
}
