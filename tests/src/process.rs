//! A child process whose life ends with the test's.
//!
//! Two nets, since each has a hole: `Drop` kills when a test ends or panics, and `workfleet-local guard` makes the kernel
//! kill when the test's process itself is killed and no `Drop` runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::place;
use crate::wait::eventually_within;

/// A stop is asked for with SIGTERM first; the fleet's own programs bound their drain.
const STOP_SECONDS_MAX: u64 = 40;
/// Lines of a log that are shown when a test fails.
const LOG_LINES_SHOWN_MAX: usize = 80;

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// A word for logs and messages; two processes of one fleet must not share it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All of its environment: nothing of the test's own comes in.
    pub environment: BTreeMap<String, String>,
}

impl Spec {
    /// A program without arguments and environment.
    #[must_use]
    pub fn new(name: impl Into<String>, program: PathBuf) -> Self {
        Self { name: name.into(), program, arguments: Vec::new(), environment: BTreeMap::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    fn command(&self) -> Command {
        let mut command = match place::built("workfleet-local") {
            Some(local) => {
                let mut command = Command::new(local);
                command.arg("guard").arg("--parent").arg(std::process::id().to_string()).arg("--").arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.arguments).env_clear().envs(&self.environment).stdin(Stdio::null());
        for inherited in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(inherited) {
                command.env(inherited, value);
            }
        }
        command
    }
}

/// A running process, or what is left of it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it, with its output in `<folder>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(spec: &Spec, folder: &Path) -> Self {
        let log = folder.join(format!("{}.log", spec.name));
        let out = File::options().create(true).append(true).open(&log).expect("a temporary folder takes files");
        let err = out.try_clone().expect("a file can be shared");
        let child = spec.command().stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", spec.program.display()));
        Self { name: spec.name.clone(), child, log, ended: None }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // The error says that it is gone already.
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// SIGSTOP: it keeps its connections and its clock, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on where it was.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM: it is asked to drain and leave.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP: it reads its configuration again.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits until it has left.
    ///
    /// # Panics
    /// When it does not leave in 40 s.
    pub async fn left(&mut self) -> ExitStatus {
        let what = format!("{} leaves", self.name);
        eventually_within(Duration::from_secs(STOP_SECONDS_MAX), &what, async || self.status()).await
    }

    /// Makes sure that it still runs: nobody need wait for what is gone.
    ///
    /// # Panics
    /// When it has left.
    pub fn must_run(&mut self) {
        if let Some(status) = self.status() {
            panic!("{} has left: {status}", self.name);
        }
    }

    /// How it left, if it did.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// All that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[allow(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
    fn show_log(&mut self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN_MAX)..];
        let status = self.status();
        eprintln!("---- {} ({status:?}), its last {} lines:\n{}", self.name, shown.len(), shown.join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.kill();
    }
}
