//! Somebody who looks after the fleet: the project's own command through a forwarded port, and its Jobs in the cluster.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use workfleet_tests::program;

use crate::kubectl::{Forwarding, get, kubectl};
use crate::manifests::{Manifests, Overlay};

/// Longest time of a command.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(90);
/// How long a Job may take, its pod's start included.
const JOB_TIME_MAX: Duration = Duration::from_secs(180);
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Jobs of this process, so that no two have the same name.
static JOBS: AtomicUsize = AtomicUsize::new(0);

/// Who may do everything, at the dispatcher of `overlays/local`.
pub(crate) struct Operator {
    dispatcher: Forwarding,
    token: PathBuf,
}

impl Operator {
    pub(crate) async fn start(manifests: &Manifests) -> Result<Self> {
        let dispatcher = Forwarding::start(&["port-forward", "service/dispatcher", ":8080"]).await?;
        Ok(Self { dispatcher, token: manifests.credential_file(Overlay::Local, "tokens/admin.token") })
    }

    pub(crate) async fn stop(self) {
        self.dispatcher.stop().await;
    }

    /// Runs `workfleet` with these words and `--json`. Gives each document that it has written.
    pub(crate) async fn workfleet(&self, words: &[&str]) -> Result<Vec<Value>> {
        let what = format!("workfleet {}", words.join(" "));
        let mut command = Command::new(program("workfleet"));
        command.args(words).arg("--json").arg("--token-file").arg(&self.token);
        command.arg("--url").arg(format!("http://127.0.0.1:{}", self.dispatcher.port));
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(COMMAND_TIME_MAX, output).await;
        let output = output.with_context(|| format!("{what}: no end in {COMMAND_TIME_MAX:?}"))??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what}: {}", said.trim());
        let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        documents.collect::<Result<_, _>>().with_context(|| format!("{what}: no JSON"))
    }

    /// Asks until it is so, and gives how long that took.
    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        words: &[&str],
        is_so: impl Fn(&[Value]) -> bool,
    ) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let told = self.workfleet(words).await?;
            if is_so(&told) {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < limit, "not within {limit:?}: {what}; last it was {told:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// Runs what a CronJob of the manifests would, now, and gives what it has said. Fails where it has found something.
pub(crate) async fn job(cron: &str) -> Result<String> {
    let name = format!("{cron}-{}-{}", std::process::id(), JOBS.fetch_add(1, Ordering::Relaxed));
    kubectl(&["create", "job", &name, &format!("--from=cronjob/{cron}")]).await?;
    let begun = Instant::now();
    let succeeded = loop {
        let job = get(&["job", &name]).await?;
        match (job["status"]["succeeded"].as_u64(), job["status"]["failed"].as_u64()) {
            (Some(1..), _) => break true,
            (_, Some(1..)) => break false,
            _ => {}
        }
        ensure!(begun.elapsed() < JOB_TIME_MAX, "job {name} does not end: {}", job["status"]);
        tokio::time::sleep(LOOK_PAUSE).await;
    };
    let said = kubectl(&["logs", &format!("job/{name}")]).await?.out;
    ensure!(succeeded, "job {name} has failed:\n{said}");
    Ok(said)
}

/// The rest of the line of a Job's log that begins with a name.
pub(crate) fn told<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let rest = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(rest.with_context(|| format!("no line {name:?} in:\n{said}"))?.trim())
}

#[test]
fn a_line_is_found_by_its_name() {
    let said = "grade       D: with the power\nlost       0\nlost lines  3\n";
    assert_eq!(told(said, "lost").ok(), Some("0"));
    assert_eq!(told(said, "grade").ok(), Some("D: with the power"));
    assert!(told(said, "los").is_err());
}
