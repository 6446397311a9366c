//! Keeping one process alive: start it, notice that it is ready, notice that it died, wait, start it again; until it is
//! told to drain. What happens is told as events, and the fleet decides what it means.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::logs::Log;
use crate::program::Program;

/// Longest time for a process to drain: the workers' own default (25 s) and some.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Longest time for the last words of a process to arrive after its end.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Who becomes the program; in the child of a fork this is still the supervisor's own file, even if it was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// How a process ends that did as it was told.
const WELL: &str = "ended";

/// What is wanted of a process. Only ever goes down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Run,
    Drain,
    Kill,
}

/// What happened to a process.
#[derive(Debug)]
pub(crate) enum Change {
    /// It runs.
    Started { pid: u32 },
    /// It is ready, and answers `/readyz` there.
    Ready { admin: Option<String> },
    /// It died by itself and is started again after the wait.
    Died { how: String, again_in: Duration },
    /// It ended as it was told to; this is the last event.
    Gone { how: String },
}

/// A change, and whose.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) change: Change,
}

/// One process over all its lives.
pub(crate) struct Keeper {
    pub(crate) program: Program,
    pub(crate) log: Log,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) wish: watch::Receiver<Wish>,
}

impl Keeper {
    /// Returns when the process has ended as it was told to.
    pub(crate) async fn keep(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let how = self.live().await.unwrap_or_else(|error| format!("could not be started: {error}"));
            match self.wish() {
                Wish::Run => {}
                // One that was to drain and failed at it has a reason.
                Wish::Drain if how != WELL => {
                    return self.tell(Change::Gone { how: format!("{how}:\n{}", self.log.last_words()) });
                }
                Wish::Drain | Wish::Kill => return self.tell(Change::Gone { how }),
            }
            let again_in = backoff.after(started.elapsed());
            self.tell(Change::Died { how, again_in });
            tokio::select! {
                () = sleep(again_in) => {}
                _ = self.wish.changed() => return self.tell(Change::Gone { how: "was not running".to_owned() }),
            }
        }
    }

    /// One life; gives how it ended.
    async fn live(&mut self) -> io::Result<String> {
        self.program.probe.reset();
        let mut child = spawn(&self.program)?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        self.tell(Change::Started { pid });
        let saying = [
            child.stdout.take().map(|out| tokio::spawn(self.log.clone().copy(out))),
            child.stderr.take().map(|err| tokio::spawn(self.log.clone().copy(err))),
        ];
        let status = self.watch(&mut child, pid).await?;
        for said in saying.into_iter().flatten() {
            let _ = timeout(LAST_WORDS_MAX, said).await;
        }
        Ok(describe(status))
    }

    async fn watch(&mut self, child: &mut Child, pid: u32) -> io::Result<ExitStatus> {
        let probe = self.program.probe.clone();
        let ready = probe.ready(pid);
        tokio::pin!(ready);
        let mut waits_for_ready = true;
        let mut kill_at = None;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                admin = &mut ready, if waits_for_ready => {
                    waits_for_ready = false;
                    self.tell(Change::Ready { admin });
                }
                changed = self.wish.changed(), if kill_at.is_none() || self.wish() != Wish::Kill => {
                    if changed.is_err() || self.wish() == Wish::Kill {
                        child.start_kill()?;
                        return child.wait().await;
                    }
                    terminate(pid);
                    kill_at = Some(Instant::now() + DRAIN_MAX);
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    child.start_kill()?;
                    return child.wait().await;
                }
            }
        }
    }

    fn wish(&self) -> Wish {
        *self.wish.borrow()
    }

    /// A fleet that no longer listens is ending anyway.
    fn tell(&self, change: Change) {
        let _ = self.events.send(Event { name: self.program.name.clone(), change });
    }
}

/// A process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which then drains in order.
fn spawn(program: &Program) -> io::Result<Child> {
    let own = std::path::Path::new(OWN_PROGRAM);
    let guard = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
    Command::new(guard)
        .args(["guard", "--parent", &std::process::id().to_string(), "--"])
        .arg(&program.executable)
        .args(&program.arguments)
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// The process is our child and not yet waited for, so that its id cannot be anybody else's.
fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => WELL.to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended somehow".to_owned(),
    }
}
