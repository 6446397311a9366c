//! `kubectl`, with the namespace, a limit and typed answers.
//!
//! The alternative, a client library, would bring a hundred crates into the tests, and speak another way to the cluster
//! than the reader of `docs/kubernetes.md` does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// Where the manifests put everything.
pub(crate) const NAMESPACE: &str = "workfleet";
/// Longest time of a command that waits for nothing.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(90);
/// How long a port forwarding or proxy may take to say where it listens.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(15);

/// What a command has written.
pub(crate) struct Output {
    pub(crate) out: String,
    pub(crate) warnings: Vec<String>,
}

/// Runs `kubectl` in the namespace, for at most 90 s.
pub(crate) async fn kubectl(arguments: &[&str]) -> Result<Output> {
    run(arguments, None, COMMAND_TIME_MAX).await
}

/// The same for commands that wait themselves, as `wait` and `rollout status` do.
pub(crate) async fn kubectl_within(limit: Duration, arguments: &[&str]) -> Result<Output> {
    let timeout = format!("--timeout={}s", limit.as_secs());
    let arguments: Vec<&str> = arguments.iter().copied().chain([timeout.as_str()]).collect();
    run(&arguments, None, limit + COMMAND_TIME_MAX).await
}

/// Objects as JSON.
pub(crate) async fn get(arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = ["get", "-o", "json"].into_iter().chain(arguments.iter().copied()).collect();
    Ok(serde_json::from_str(&kubectl(&arguments).await?.out)?)
}

/// The items of a list.
pub(crate) async fn list(arguments: &[&str]) -> Result<Vec<Value>> {
    Ok(get(arguments).await?["items"].as_array().cloned().unwrap_or_default())
}

/// Applies one object.
pub(crate) async fn apply(object: &Value) -> Result<Output> {
    run(&["apply", "-f", "-"], Some(&object.to_string()), COMMAND_TIME_MAX).await
}

/// Applies a folder with a kustomization.
pub(crate) async fn apply_folder(folder: &Path) -> Result<Output> {
    kubectl(&["apply", "-k", &folder.display().to_string()]).await
}

async fn run(arguments: &[&str], input: Option<&str>, limit: Duration) -> Result<Output> {
    let what = format!("kubectl {}", arguments.join(" "));
    let mut command = command(arguments);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("kubectl cannot be started")?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        pipe.write_all(input.as_bytes()).await?;
    }
    let output = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = output.with_context(|| format!("{what}: no end in {limit:?}"))??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{what}: {}", said.trim());
    let warnings = said.lines().filter(|line| line.starts_with("Warning:")).map(str::to_owned).collect();
    Ok(Output { out: String::from_utf8_lossy(&output.stdout).into_owned(), warnings })
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--namespace").arg(NAMESPACE).args(arguments).kill_on_drop(true);
    command
}

/// A `kubectl` that stays: `proxy` or `port-forward`. It goes when this is dropped.
pub(crate) struct Forwarding {
    child: Child,
    /// Its port of the loopback interface.
    pub(crate) port: u16,
}

impl Forwarding {
    /// Starts it on a free port.
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        let first = tokio::time::timeout(LISTEN_TIME_MAX, lines.next_line()).await;
        let Some(first) = first.with_context(|| format!("{arguments:?} says nothing"))?? else {
            bail!("{arguments:?} ended at once");
        };
        let port = port(&first).with_context(|| format!("no port in {first:?}"))?;
        // It says a line for each connection, and would die of a pipe that nobody reads.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, port })
    }

    /// Ends it, and waits until it has gone.
    pub(crate) async fn stop(mut self) {
        // The error says that it has gone already.
        let _ = self.child.kill().await;
    }
}

/// The port in `Starting to serve on 127.0.0.1:40123` and in `Forwarding from 127.0.0.1:40123 -> 4222`.
fn port(line: &str) -> Option<u16> {
    let (_, after) = line.split_once("127.0.0.1:")?;
    after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn the_port_is_read_from_what_both_commands_say() {
    assert_eq!(port("Starting to serve on 127.0.0.1:40123"), Some(40123));
    assert_eq!(port("Forwarding from 127.0.0.1:40124 -> 4222"), Some(40124));
}
